{{- /* The admission plugin: the same image and release as the scaler, and an identity of its own. */ -}}
{{- define "wattkeeper.admission.fullname" -}}
{{- printf "%s-admission" (include "wattkeeper.fullname" . | trunc 53 | trimSuffix "-") }}
{{- end }}

{{- define "wattkeeper.admission.selectorLabels" -}}
app.kubernetes.io/name: {{ include "wattkeeper.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: admission
{{- end }}

{{- define "wattkeeper.admission.labels" -}}
{{ include "wattkeeper.admission.selectorLabels" . }}
{{ include "wattkeeper.releaseLabels" . }}
{{- end }}

{{- define "wattkeeper.admission.serviceAccountName" -}}
{{- if .Values.admission.serviceAccount.create }}
{{- default (include "wattkeeper.admission.fullname" .) .Values.admission.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.admission.serviceAccount.name }}
{{- end }}
{{- end }}

{{- /* The Secret whose certificate the listener shows, where others make it. */ -}}
{{- define "wattkeeper.admission.tlsSecret" -}}
{{- default (printf "%s-tls" (include "wattkeeper.admission.fullname" .)) .Values.admission.tls.existingSecret }}
{{- end }}

{{- /* The names under which the API server may call; it uses the first. */ -}}
{{- define "wattkeeper.admission.dnsNames" -}}
{{- $service := include "wattkeeper.admission.fullname" . -}}
{{- list (printf "%s.%s.svc" $service .Release.Namespace) (printf "%s.%s.svc.cluster.local" $service .Release.Namespace)
  | toJson }}
{{- end }}

{{- /* "true" where the plugin keeps a certificate authority of its own, and writes the caBundles. */ -}}
{{- define "wattkeeper.admission.ownCertificates" -}}
{{- if and (not .Values.admission.tls.existingSecret) (not .Values.admission.tls.certManager.enabled) }}true{{ end }}
{{- end }}

{{- /* The Secret where it keeps that. */ -}}
{{- define "wattkeeper.admission.certificateSecret" -}}
{{- printf "%s-certificates" (include "wattkeeper.admission.fullname" .) }}
{{- end }}

{{- /* clientConfig of a webhook; called with a list: the root and the path. */ -}}
{{- define "wattkeeper.admission.clientConfig" -}}
{{- $root := first . -}}
service:
  name: {{ include "wattkeeper.admission.fullname" $root }}
  namespace: {{ $root.Release.Namespace }}
  path: {{ last . }}
  port: {{ $root.Values.admission.service.port }}
{{- if and $root.Values.admission.tls.caBundle (not (include "wattkeeper.admission.ownCertificates" $root)) }}
caBundle: {{ $root.Values.admission.tls.caBundle | b64enc }}
{{- end }}
{{- end }}

{{- /* What the webhooks of /validate have in common. They fail open whatever the values say: the leader says the same on
  statuses, and nobody's write is to wait for ours. */ -}}
{{- define "wattkeeper.admission.validation" -}}
clientConfig: {{- include "wattkeeper.admission.clientConfig" (list . "/validate") | nindent 2 }}
admissionReviewVersions: [v1]
sideEffects: None
failurePolicy: Ignore
timeoutSeconds: {{ .Values.admission.webhook.timeoutSeconds }}
{{- end }}

{{- /* Annotations of the webhook configurations; cert-manager's injector writes the caBundle where it makes certificates. */ -}}
{{- define "wattkeeper.admission.webhookAnnotations" -}}
{{- if .Values.admission.tls.certManager.enabled }}
cert-manager.io/inject-ca-from: {{ printf "%s/%s" .Release.Namespace (include "wattkeeper.admission.fullname" .) }}
{{- end }}
{{- with .Values.admission.webhook.annotations }}
{{ toYaml . }}
{{- end }}
{{- end }}
