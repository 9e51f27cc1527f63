{{/* One release a cluster: the scheduler's name, the API and the marker resource are cluster-wide. Nothing is found when templates are only printed. */}}
{{- define "stowplan.guard" -}}
{{- range (lookup "apps/v1" "Deployment" "" "").items }}
{{- if and (eq (dig "app.kubernetes.io/name" "" (default dict .metadata.labels)) "stowplan") (eq (dig "app.kubernetes.io/component" "" (default dict .metadata.labels)) "operator") }}
{{- if not (and (eq (dig "app.kubernetes.io/instance" "" .metadata.labels) $.Release.Name) (eq .metadata.namespace $.Release.Namespace)) }}
{{- fail (printf "release %s in namespace %s already runs Stowplan in this cluster. Two would share one API, one scheduler name and one set of services and work against each other: upgrade that release, or uninstall it first." (dig "app.kubernetes.io/instance" "?" .metadata.labels) .metadata.namespace) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
