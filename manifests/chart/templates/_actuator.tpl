{{- /* The actuator: the same image and release as the scaler, and an identity of its own. */ -}}
{{- define "wattkeeper.actuator.fullname" -}}
{{- printf "%s-actuator" (include "wattkeeper.fullname" . | trunc 54 | trimSuffix "-") }}
{{- end }}

{{- define "wattkeeper.actuator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "wattkeeper.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: actuator
{{- end }}

{{- define "wattkeeper.actuator.labels" -}}
{{ include "wattkeeper.actuator.selectorLabels" . }}
{{ include "wattkeeper.releaseLabels" . }}
{{- end }}

{{- define "wattkeeper.actuator.serviceAccountName" -}}
{{- if .Values.actuator.serviceAccount.create }}
{{- default (include "wattkeeper.actuator.fullname" .) .Values.actuator.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.actuator.serviceAccount.name }}
{{- end }}
{{- end }}

{{- /* The container of the Deployment and of the Job that puts everything back; called with a list: the root and the
  arguments. */ -}}
{{- define "wattkeeper.actuator.container" -}}
{{- $root := first . -}}
name: actuator
image: {{ printf "%s:%s" $root.Values.image.repository ($root.Values.image.tag | default $root.Chart.AppVersion) | quote }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
args: {{ last . | toJson }}
env:
  - name: POD_NAME
    valueFrom:
      fieldRef:
        fieldPath: metadata.name
  - name: WATTKEEPER_IDENTITY
    value: $(POD_NAME)
  - name: WATTKEEPER_NAMESPACE
    valueFrom:
      fieldRef:
        fieldPath: metadata.namespace
  - name: WATTKEEPER_METRICS_ADDRESS
    value: {{ printf "[::]:%v" $root.Values.actuator.metricsPort | quote }}
  - name: WATTKEEPER_SCALER_ADDRESS
    value: {{ printf "%s.%s.svc:%v" (include "wattkeeper.fullname" $root) $root.Release.Namespace $root.Values.service.port }}
  - name: WATTKEEPER_SCALER_TLS
    value: {{ $root.Values.tls.enabled | quote }}
  {{- if not (hasKey $root.Values.actuator.settings "WATTKEEPER_SCALER_CHECK") }}
  - name: WATTKEEPER_SCALER_CHECK
    value: {{ include "wattkeeper.actuator.checks" $root | eq "true" | quote }}
  {{- end }}
  {{- if include "wattkeeper.actuator.authority" $root }}
  - name: WATTKEEPER_SCALER_AUTHORITY_FILE
    value: /etc/wattkeeper/authority/ca.crt
  {{- end }}
  {{- if and (include "wattkeeper.ownCertificates" $root) $root.Values.keda.triggerAuthentication }}
  - name: WATTKEEPER_TRIGGER_AUTHENTICATION
    value: {{ include "wattkeeper.fullname" $root }}
  {{- end }}
  {{- range $name, $value := $root.Values.actuator.settings }}
  - name: {{ $name }}
    value: {{ $value | quote }}
  {{- end }}
  {{- with $root.Values.actuator.extraEnv }}{{ toYaml . | nindent 2 }}{{ end }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- with $root.Values.actuator.resources }}
resources: {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  - name: tmp
    mountPath: /tmp
  {{- if include "wattkeeper.actuator.authority" $root }}
  - name: authority
    mountPath: /etc/wattkeeper/authority
    readOnly: true
  {{- end }}
{{- end }}

{{- /* The actuator can ask the scaler by itself: it knows the authority, and needs no certificate of its own. */ -}}
{{- define "wattkeeper.actuator.checks" -}}
{{- if or (not .Values.tls.enabled) (include "wattkeeper.actuator.authority" .) }}true{{ end }}
{{- end }}

{{- define "wattkeeper.actuator.authority" -}}
{{- if and .Values.tls.enabled (not .Values.tls.existingSecret) (not .Values.tls.requireClientCertificate) }}true{{ end }}
{{- end }}

{{- /* What the pods of both have in common. */ -}}
{{- define "wattkeeper.actuator.pod" -}}
serviceAccountName: {{ include "wattkeeper.actuator.serviceAccountName" . }}
# Links would add variables that begin with WATTKEEPER_ and are no settings.
enableServiceLinks: false
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
volumes:
  - name: tmp
    emptyDir: {}
  {{- if include "wattkeeper.actuator.authority" . }}
  # Of the scaler's Secret, the authority alone.
  - name: authority
    secret:
      secretName: {{ include "wattkeeper.tlsSecret" . }}
      items: [{key: ca.crt, path: ca.crt}]
  {{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
