{{- define "wattkeeper.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "wattkeeper.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "wattkeeper.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "wattkeeper.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "wattkeeper.selectorLabels" -}}
app.kubernetes.io/name: {{ include "wattkeeper.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: scaler
{{- end }}

{{- define "wattkeeper.labels" -}}
{{ include "wattkeeper.selectorLabels" . }}
{{ include "wattkeeper.releaseLabels" . }}
{{- end }}

{{- define "wattkeeper.releaseLabels" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "wattkeeper.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "wattkeeper.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- /* Every account that the chart's programs run under, by the names that the API server gives them. */ -}}
{{- define "wattkeeper.accounts" -}}
{{- $prefix := printf "system:serviceaccount:%s:" .Release.Namespace -}}
{{- $accounts := list (print $prefix (include "wattkeeper.serviceAccountName" .)) -}}
{{- if .Values.admission.enabled -}}
{{- $accounts = append $accounts (print $prefix (include "wattkeeper.admission.serviceAccountName" .)) -}}
{{- end -}}
{{- if .Values.actuator.enabled -}}
{{- $accounts = append $accounts (print $prefix (include "wattkeeper.actuator.serviceAccountName" .)) -}}
{{- end -}}
{{- $accounts | toJson }}
{{- end }}

{{- define "wattkeeper.tlsSecret" -}}
{{- default (printf "%s-tls" (include "wattkeeper.fullname" .)) .Values.tls.existingSecret }}
{{- end }}

{{- /* "true" where the chart makes its own certificates. */ -}}
{{- define "wattkeeper.ownCertificates" -}}
{{- if and .Values.tls.enabled (not .Values.tls.existingSecret) (not .Values.tls.certManager.enabled) }}true{{ end }}
{{- end }}

{{- define "wattkeeper.dnsNames" -}}
{{- $service := include "wattkeeper.fullname" . -}}
{{- list (printf "%s.%s.svc" $service .Release.Namespace) (printf "%s.%s" $service .Release.Namespace) $service
  (printf "%s.%s.svc.cluster.local" $service .Release.Namespace) | toJson }}
{{- end }}
