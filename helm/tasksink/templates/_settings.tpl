{{- /*
The program's own defaults, where the chart reckons with them. A test holds them against the program.
*/ -}}
{{- define "tasksink.defaults" -}}
batch-size: 100
drain-timeout: 20s
hubspot-rate: auto
hubspot-timeout: 15s
hubspot-url: https://api.hubapi.com
insecure: false
max-in-flight: 32
max-pending-bytes: 64MiB
{{- end }}

{{- /* One setting as it is in force, as text: dict "root" $ "name" "drain-timeout". */ -}}
{{- define "tasksink.setting" -}}
{{- /* not merge, which takes a 0 for nothing */}}
{{- $from := ternary .root.Values.settings (include "tasksink.defaults" .root | fromYaml) (hasKey .root.Values.settings .name) }}
{{- include "tasksink.scalar" (get $from .name) }}
{{- end }}

{{- /* Helm reads numbers as float64 and would write 67108864 as 6.7108864e+07, which is no number of records. */ -}}
{{- define "tasksink.scalar" -}}
{{- if kindIs "float64" . }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- end }}

{{- define "tasksink.brokers" -}}
{{- if kindIs "string" .Values.kafka.brokers }}
{{- .Values.kafka.brokers | replace " " "" | trimAll "," }}
{{- else }}
{{- join "," .Values.kafka.brokers }}
{{- end }}
{{- end }}

{{- /* The file that --config names. */ -}}
{{- define "tasksink.config" -}}
{{- $v := .Values }}
{{- $s := dict "kafka-brokers" (include "tasksink.brokers" . | splitList ",") "kafka-topics" $v.kafka.topics "kafka-group" $v.kafka.group }}
{{- $_ := set $s "listen" (printf ":%d" (int64 $v.port)) }}
{{- $_ := set $s "dead-letter-file" "/etc/tasksink/dead-letter-records/records.txt" }}
{{- with $v.kafka.dlqTopic }}{{ $_ := set $s "dlq-topic" . }}{{ end }}
{{- with $v.hubspot.idProperty }}{{ $_ := set $s "hubspot-id-property" . }}{{ end }}
{{- with $v.hubspot.idProperties }}{{ $_ := set $s "hubspot-id-properties" . }}{{ end }}
{{- with $v.kafka.tls }}
  {{- if .enabled }}{{ $_ := set $s "kafka-tls" true }}{{ end }}
  {{- if and .enabled .existingSecret .caKey }}{{ $_ := set $s "kafka-tls-ca" (printf "/etc/tasksink/kafka-tls/%s" .caKey) }}{{ end }}
  {{- if and .enabled .certKey }}{{ $_ := set $s "kafka-tls-cert" (printf "/etc/tasksink/kafka-tls/%s" .certKey) }}{{ end }}
  {{- if and .enabled .keyKey }}{{ $_ := set $s "kafka-tls-key" (printf "/etc/tasksink/kafka-tls/%s" .keyKey) }}{{ end }}
  {{- if and .enabled .serverName }}{{ $_ := set $s "kafka-tls-server-name" .serverName }}{{ end }}
{{- end }}
{{- with $v.kafka.sasl }}
  {{- if .mechanism }}
    {{- $_ := set $s "kafka-sasl-mechanism" .mechanism }}
    {{- $_ := set $s "kafka-sasl-username" .username }}
    {{- if .existingSecret }}{{ $_ := set $s "kafka-sasl-password-file" (printf "/etc/tasksink/kafka-sasl/%s" .passwordKey) }}{{ end }}
  {{- end }}
{{- end }}
{{- with $v.hubspot }}
  {{- if .oauth.clientID }}
    {{- $_ := set $s "hubspot-oauth-client-id" .oauth.clientID }}
    {{- $_ := set $s "hubspot-oauth-client-secret-file" (printf "/etc/tasksink/hubspot/%s" .oauth.clientSecretKey) }}
    {{- $_ := set $s "hubspot-oauth-refresh-token-file" (printf "/etc/tasksink/hubspot/%s" .oauth.refreshTokenKey) }}
  {{- else if .existingSecret }}
    {{- $_ := set $s "hubspot-token-file" (printf "/etc/tasksink/hubspot/%s" .tokenKey) }}
  {{- end }}
{{- end }}
{{- range $name, $value := $v.settings }}{{ $_ := set $s $name $value }}{{ end }}
{{- range $name := keys $s | sortAlpha }}
{{- $value := get $s $name }}
{{ $name }}: {{ if or (kindIs "slice" $value) (kindIs "string" $value) }}{{ toJson $value }}{{ else }}{{ include "tasksink.scalar" $value }}{{ end }}
{{- end }}
{{- end }}

{{- /* A time such as 1m30s in milliseconds; 0 if it is none. */ -}}
{{- define "tasksink.milliseconds" -}}
{{- $unit := dict "ns" 0.000001 "us" 0.001 "µs" 0.001 "ms" 1.0 "s" 1000.0 "m" 60000.0 "h" 3600000.0 }}
{{- $sum := 0.0 }}
{{- range regexFindAll "[0-9.]+(ns|us|µs|ms|s|m|h)" . -1 }}
{{- $u := regexFind "[a-zµ]+" . }}
{{- $sum = addf $sum (mulf (trimSuffix $u . | float64) (get $unit $u)) }}
{{- end }}
{{- int64 $sum }}
{{- end }}

{{- /* Bytes of a quantity of Kubernetes (256Mi, 1G) or a size of the program (64MiB, 64MB); empty if it is neither. */ -}}
{{- define "tasksink.bytes" -}}
{{- $unit := dict "" 1.0 "k" 1e3 "m" 1e6 "g" 1e9 "t" 1e12 "ki" 1024.0 "mi" 1048576.0 "gi" 1073741824.0 "ti" 1099511627776.0 }}
{{- $text := toString . | lower | replace " " "" | trimSuffix "b" }}
{{- if regexMatch "^[0-9]+([.][0-9]+)?([kmgt]i?)?$" $text }}
{{- $u := regexFind "[kmgti]+" $text }}
{{- mulf (trimSuffix $u $text | float64) (get $unit $u) | int64 }}
{{- end }}
{{- end }}
