{{- /* What the worker's pod and the test's have in common. */ -}}
{{- define "tasksink.podSpec" -}}
serviceAccountName: {{ include "tasksink.serviceAccountName" . }}
automountServiceAccountToken: false
# Without it Kubernetes would set variables for every Service, and TASKSINK_PORT for ours, which is no setting.
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  {{- include "tasksink.volumes" . | nindent 2 }}
{{- end }}

{{- /* Whole directories, never subPath: only so does a changed Secret or ConfigMap reach the program. */ -}}
{{- define "tasksink.volumes" -}}
- name: config
  configMap:
    name: {{ include "tasksink.fullname" . }}
- name: dead-letter-records
  configMap:
    name: {{ include "tasksink.fullname" . }}-dead-letter-records
    optional: true
{{- range $name, $secret := include "tasksink.secrets" . | fromYaml }}
- name: {{ $name }}
  secret:
    secretName: {{ $secret }}
    defaultMode: 0440
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "tasksink.secrets" -}}
{{- with .Values.hubspot.existingSecret }}
hubspot: {{ . }}
{{- end }}
{{- with .Values.kafka.tls.existingSecret }}
kafka-tls: {{ . }}
{{- end }}
{{- with .Values.kafka.sasl.existingSecret }}
kafka-sasl: {{ . }}
{{- end }}
{{- end }}

{{- /* The container but for its name, its command and its probes: dict "root" $ "command" "run". */ -}}
{{- define "tasksink.container" -}}
{{- $v := .root.Values -}}
image: {{ include "tasksink.image" .root }}
imagePullPolicy: {{ $v.image.pullPolicy }}
args:
  - {{ .command }}
  - --config=/etc/tasksink/config/tasksink.yaml
  {{- with $v.extraArgs }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- $limit := include "tasksink.bytes" ((($v.resources).limits).memory | default "") }}
{{- $own := list }}
{{- range $v.extraEnv }}{{ $own = append $own .name }}{{ end }}
{{- $goMemLimit := and $limit (not (has "GOMEMLIMIT" $own)) }}
{{- if or $goMemLimit $v.extraEnv }}
env:
  {{- if $goMemLimit }}
  # 85 % of the memory limit: the collector works harder before the kernel kills.
  - name: GOMEMLIMIT
    value: {{ mulf $limit 0.85 | int64 | quote }}
  {{- end }}
  {{- with $v.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- with $v.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml $v.securityContext | nindent 2 }}
resources:
  {{- toYaml $v.resources | nindent 2 }}
volumeMounts:
  - name: config
    mountPath: /etc/tasksink/config
    readOnly: true
  - name: dead-letter-records
    mountPath: /etc/tasksink/dead-letter-records
    readOnly: true
  {{- range $name, $_ := include "tasksink.secrets" .root | fromYaml }}
  - name: {{ $name }}
    mountPath: /etc/tasksink/{{ $name }}
    readOnly: true
  {{- end }}
  {{- with $v.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
