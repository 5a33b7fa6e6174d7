{{- define "tasksink.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "tasksink.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 53 | trimSuffix "-" }}
{{- else }}
{{- $name := include "tasksink.name" . }}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- $full | trunc 53 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "tasksink.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "tasksink.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- /* All pods of the release, the test's too. */ -}}
{{- define "tasksink.releaseLabels" -}}
app.kubernetes.io/name: {{ include "tasksink.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* The workers alone: a test's pod must count neither in the disruption budget nor among what is scraped. */ -}}
{{- define "tasksink.selectorLabels" -}}
{{ include "tasksink.releaseLabels" . }}
app.kubernetes.io/component: worker
{{- end }}

{{- define "tasksink.labels" -}}
{{- $own := include "tasksink.releaseLabels" . | fromYaml }}
{{- $_ := set $own "app.kubernetes.io/version" (.Values.image.tag | default .Chart.AppVersion | trunc 63) }}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service }}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63) }}
{{- toYaml (merge $own .Values.commonLabels) }}
{{- end }}

{{- define "tasksink.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}
