{{/* Where certificates come from: off, existing, certManager or generated. Values that contradict each other end here. */}}
{{- define "stowplan.tls.source" -}}
{{- $existing := compact (values .Values.tls.existingSecrets) }}
{{- if and $existing .Values.tls.certManager.enabled }}
{{- fail "tls: existingSecrets and certManager.enabled exclude each other: certificates come from one place. Empty the names, or set tls.certManager.enabled to false." }}
{{- end }}
{{- if and (not .Values.tls.enabled) (or $existing .Values.tls.certManager.enabled) }}
{{- fail "tls.enabled is false, but tls.existingSecrets or tls.certManager.enabled ask for certificates: set tls.enabled to true, or take the others away." }}
{{- end }}
{{- if and .Values.tls.certManager.issuerRef.name (not .Values.tls.certManager.enabled) }}
{{- fail "tls.certManager.issuerRef names an issuer, but tls.certManager.enabled is false: nobody would ask it. Set tls.certManager.enabled to true." }}
{{- end }}
{{- if not .Values.tls.enabled -}} off
{{- else if $existing -}}
{{- range $component, $name := .Values.tls.existingSecrets }}
{{- if not $name }}
{{- fail (printf "tls.existingSecrets.%s is empty, the others are not: name a Secret with tls.crt, tls.key and ca.crt for each of predictor, operator and scheduler." $component) }}
{{- end }}
{{- end -}} existing
{{- else if .Values.tls.certManager.enabled -}} certManager
{{- else -}} generated
{{- end }}
{{- end }}

{{/* The Secret of a component (root, component). Names differ by source, so that changing the source never lets two of them write one Secret. */}}
{{- define "stowplan.tls.secret" -}}
{{- $source := include "stowplan.tls.source" .root }}
{{- if eq $source "existing" }}{{ index .root.Values.tls.existingSecrets .component }}
{{- else }}{{ include "stowplan.name" .root }}-{{ .component }}-{{ ternary "issued" "tls" (eq $source "certManager") }}
{{- end }}
{{- end }}

{{/* Names that a component's certificate holds, the one that clients dial first (root, component). */}}
{{- define "stowplan.tls.names" -}}
{{- $name := printf "%s-%s" (include "stowplan.name" .root) .component }}
{{- list (printf "%s.%s.svc" $name .root.Release.Namespace) (printf "%s.%s" $name .root.Release.Namespace) $name | toJson }}
{{- end }}

{{/* Who is answered: those whose certificates are made here. What Secrets of the user hold is not known; the predictor's ca.crt decides alone there. */}}
{{- define "stowplan.tls.clientNames" -}}
{{- if ne (include "stowplan.tls.source" .) "existing" }}
{{- $names := list }}
{{- range list "operator" "scheduler" }}
{{- $names = append $names (include "stowplan.tls.names" (dict "root" $ "component" .) | fromJsonArray | first) }}
{{- end }}
{{- join "," $names }}
{{- end }}
{{- end }}

{{- define "stowplan.tls.volume" -}}
{{- if ne (include "stowplan.tls.source" .root) "off" }}
- {name: tls, secret: {secretName: {{ include "stowplan.tls.secret" . }}, defaultMode: 0440}}
{{- end }}
{{- end }}

{{- define "stowplan.tls.mount" -}}
{{- if ne (include "stowplan.tls.source" .) "off" }}
- {name: tls, mountPath: /etc/stowplan/tls, readOnly: true}
{{- end }}
{{- end }}

{{/* Settings of who asks the predictor (root, prefix). The name that is expected is that of the target. */}}
{{- define "stowplan.tls.client" -}}
{{- if ne (include "stowplan.tls.source" .root) "off" }}
- {name: {{ .prefix }}_PREDICTOR_TLS_CA_FILE, value: /etc/stowplan/tls/ca.crt}
- {name: {{ .prefix }}_PREDICTOR_TLS_CERTIFICATE_FILE, value: /etc/stowplan/tls/tls.crt}
- {name: {{ .prefix }}_PREDICTOR_TLS_KEY_FILE, value: /etc/stowplan/tls/tls.key}
{{- end }}
{{- end }}
