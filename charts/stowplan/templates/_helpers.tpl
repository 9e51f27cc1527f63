{{- define "stowplan.name" -}}
{{- if contains "stowplan" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-stowplan" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "stowplan.selector" -}}
app.kubernetes.io/name: stowplan
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "stowplan.labels" -}}
{{ include "stowplan.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "stowplan.image" -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{- define "stowplan.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "stowplan.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "stowplan.descriptorsNamespace" -}}
{{ .Values.descriptorsNamespace | default .Release.Namespace }}
{{- end }}

{{- define "stowplan.predictorTarget" -}}
dns:///{{ include "stowplan.name" . }}-predictor.{{ .Release.Namespace }}.svc:50051
{{- end }}

{{- define "stowplan.placing" -}}
{{- with .nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{/* Replicas prefer zones and nodes of their own, unless the values say where they go. */}}
{{- define "stowplan.spread" -}}
topologySpreadConstraints:
{{- with .values.topologySpreadConstraints }}
{{ toYaml . | indent 2 }}
{{- else }}
  - topologyKey: topology.kubernetes.io/zone
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{ include "stowplan.selector" .context | nindent 8 }}
{{- end }}
{{- if not .values.affinity }}
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels: {{ include "stowplan.selector" .context | nindent 14 }}
{{- end }}
{{- end }}

{{- define "stowplan.metricsFrom" -}}
{{- with .Values.networkPolicy.metricsFrom }}
{{ toYaml . }}
{{- else }}
- namespaceSelector: {}
{{- end }}
{{- end }}

{{- define "stowplan.toDns" -}}
- to:
    - namespaceSelector:
        matchLabels: {{ toYaml .Values.networkPolicy.dnsNamespace | nindent 10 }}
  ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end }}

{{- define "stowplan.toApiServer" -}}
- to:
    {{- range .Values.networkPolicy.apiServer.cidrs }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
  ports:
    {{- range .Values.networkPolicy.apiServer.ports }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
{{- end }}
