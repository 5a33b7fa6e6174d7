{{- /*
How many replicas the account can feed. The account's requests per second, each as slow as --hubspot-timeout allows,
need so many requests at once, and a replica has --max-in-flight of them; and a replica does 2,500 records/s at the least
(docs/performance.md). Empty: the rate is unlimited.
*/ -}}
{{- define "tasksink.requestsPer10s" -}}
{{- $rate := include "tasksink.setting" (dict "root" . "name" "hubspot-rate") }}
{{- if not (kindIs "invalid" .Values.hubspot.requestsPer10s) }}{{ int64 .Values.hubspot.requestsPer10s }}
{{- else if regexMatch "^[0-9]+$" $rate }}{{ $rate }}
{{- else }}100{{ end }}
{{- end }}

{{- define "tasksink.feeds" -}}
{{- $requests := include "tasksink.requestsPer10s" . | float64 }}
{{- if gt $requests 0.0 }}
{{- $seconds := divf (include "tasksink.milliseconds" (include "tasksink.setting" (dict "root" . "name" "hubspot-timeout")) | float64) 1000 }}
{{- $inFlight := include "tasksink.setting" (dict "root" . "name" "max-in-flight") | float64 }}
{{- $batch := include "tasksink.setting" (dict "root" . "name" "batch-size") | float64 }}
{{- $slow := divf (mulf (divf $requests 10) $seconds) (maxf $inFlight 1) }}
{{- $fast := divf (mulf (divf $requests 10) $batch) 2500 }}
{{- ceil (maxf $slow $fast 1) | int64 }}
{{- end }}
{{- end }}

{{- /* The most replicas that have something to do, given the least that are wanted; empty: nothing bounds them. */ -}}
{{- define "tasksink.mostReplicas" -}}
{{- $most := "" }}
{{- with include "tasksink.feeds" .root }}{{ $most = max (int64 .) (int64 $.least) }}{{ end }}
{{- with .root.Values.kafka.partitions }}{{ $most = ternary (int64 .) (min (int64 .) (int64 $most)) (eq (toString $most) "") }}{{ end }}
{{- $most }}
{{- end }}

{{- define "tasksink.maxReplicas" -}}
{{- if not (kindIs "invalid" .given) }}{{ int64 .given }}{{ else }}{{ include "tasksink.mostReplicas" . }}{{ end }}
{{- end }}

{{- /* Records that the account takes in a minute; 60,000 where the rate is unlimited. */ -}}
{{- define "tasksink.lagThreshold" -}}
{{- $requests := include "tasksink.requestsPer10s" . | int64 }}
{{- if not (kindIs "invalid" .Values.keda.lagThreshold) }}{{ int64 .Values.keda.lagThreshold }}
{{- else if gt $requests 0 }}{{ mul $requests 6 (include "tasksink.setting" (dict "root" . "name" "batch-size") | int64) }}
{{- else }}60000{{ end }}
{{- end }}

{{- /* What waits in all partitions, each once while it moves from pod to pod; nothing while a hold of everything stands. */ -}}
{{- define "tasksink.lagQuery" -}}
{{- $of := printf "namespace=%q,group=%q" .Release.Namespace .Values.kafka.group }}
{{- printf "sum(max by (topic, partition) (tasksink_consumer_lag{%s})) unless on () max(tasksink_hold{%s}) == 1" $of $of }}
{{- end }}

{{- /* Up at once, down slowly and one by one: each step stops the group for a moment. */ -}}
{{- define "tasksink.behavior" -}}
scaleUp:
  stabilizationWindowSeconds: 60
  policies:
    - type: Pods
      value: 2
      periodSeconds: 60
scaleDown:
  stabilizationWindowSeconds: {{ . }}
  policies:
    - type: Pods
      value: 1
      periodSeconds: 120
{{- end }}
