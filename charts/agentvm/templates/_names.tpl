{{/* Names are fixed: there is one installation in a cluster, since its CRDs and admission policies are the cluster's. */}}

{{- define "agentvm.selector" -}}
app.kubernetes.io/name: agentvm
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "agentvm.labels" -}}
app.kubernetes.io/name: agentvm
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: agentvm
{{- end }}

{{- define "agentvm.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "agentvm.operatorUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:agentvm-operator
{{- end }}

{{- define "agentvm.agentUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:agentvm-node-agent
{{- end }}

{{/* The namespace of the AgentVM that `helm test` runs: one that is served. */}}
{{- define "agentvm.testNamespace" -}}
{{- if .Values.namespaces }}{{ first .Values.namespaces }}{{ else }}{{ .Release.Namespace }}{{ end }}
{{- end }}
