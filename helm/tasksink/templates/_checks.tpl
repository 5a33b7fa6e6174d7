{{- /*
What cannot work is told before anything is installed: all of it at once, the value, its value and the remedy.
What is merely malformed is values.schema.json's part.
*/ -}}
{{- define "tasksink.checks" -}}
{{- $v := .Values }}
{{- $wrong := list }}
{{- $brokers := include "tasksink.brokers" . }}
{{- if not $brokers }}
  {{- $wrong = append $wrong "kafka.brokers is missing: name at least one broker, --set 'kafka.brokers={kafka:9092}'" }}
{{- else }}
  {{- range splitList "," $brokers }}
    {{- if not (regexMatch "^([^:\\s]+|\\[[0-9a-fA-F:]+\\]):[0-9]+$" .) }}
      {{- $wrong = append $wrong (printf "kafka.brokers=%s: write each broker as host:port" .) }}
    {{- end }}
  {{- end }}
{{- end }}
{{- if not $v.kafka.topics }}
  {{- $wrong = append $wrong "kafka.topics is empty: name at least one topic" }}
{{- end }}
{{- range $topic := $v.kafka.topics }}
  {{- if eq $topic $v.kafka.dlqTopic }}
    {{- $wrong = append $wrong (printf "kafka.dlqTopic=%s: it is among kafka.topics, and dead letters would be consumed again; name another topic" $topic) }}
  {{- else if and (not $v.kafka.dlqTopic) (has (printf "%s.dlq" $topic) $v.kafka.topics) }}
    {{- $wrong = append $wrong (printf "kafka.topics: %s.dlq is where the dead letters of %s go, and they would be consumed again; set kafka.dlqTopic, or leave it out" $topic $topic) }}
  {{- else if and (not $v.kafka.dlqTopic) (gt (len $topic) 245) }}
    {{- $wrong = append $wrong (printf "kafka.topics=%s: its dead-letter topic, with .dlq at the end, would have a name longer than 249 characters; set kafka.dlqTopic" $topic) }}
  {{- end }}
{{- end }}
{{- if eq $v.hubspot.idProperty "hs_object_id" }}
  {{- $wrong = append $wrong "hubspot.idProperty=hs_object_id: this is HubSpot's own id, and HubSpot refuses an upsert by it; name a task property of your own that has unique values" }}
{{- end }}
{{- range $property := $v.hubspot.idProperties }}
  {{- if eq $property $v.hubspot.idProperty }}
    {{- $wrong = append $wrong (printf "hubspot.idProperties=%s: hubspot.idProperty names this property; take it out here" $property) }}
  {{- else if eq $property "hs_object_id" }}
    {{- $wrong = append $wrong "hubspot.idProperties=hs_object_id: this is HubSpot's own id, and HubSpot refuses an upsert by it; name a task property of your own that has unique values" }}
  {{- end }}
{{- end }}
{{- include "tasksink.checkSecrets" (dict "root" . "brokers" $brokers "wrong" list) | fromJsonArray | concat $wrong | toJson }}
{{- end }}

{{- define "tasksink.checkSecrets" -}}
{{- $v := .root.Values }}
{{- $wrong := .wrong }}
{{- $insecure := eq (include "tasksink.setting" (dict "root" .root "name" "insecure")) "true" }}
{{- $env := list }}
{{- range $v.extraEnv }}{{ $env = append $env .name }}{{ end }}
{{- if and (not $v.hubspot.existingSecret) (or $v.hubspot.oauth.clientID (not (or $v.extraEnvFrom (has "TASKSINK_HUBSPOT_TOKEN" $env) (has "TASKSINK_HUBSPOT_TOKEN_FILE" $env)))) }}
  {{- $keys := ternary (list $v.hubspot.oauth.clientSecretKey $v.hubspot.oauth.refreshTokenKey) (list $v.hubspot.tokenKey) (not (empty $v.hubspot.oauth.clientID)) }}
  {{- $wrong = append $wrong (printf "hubspot.existingSecret is missing: name a Secret that has %s; kubectl create secret generic NAME --from-file=%s=FILE makes one" (join " and " $keys) (join "=FILE --from-file=" $keys)) }}
{{- end }}
{{- with $v.kafka.tls }}
  {{- if and (not .enabled) (or .existingSecret .certKey .keyKey .serverName) }}
    {{- $wrong = append $wrong "kafka.tls.enabled=false: certificates or a name are given; set kafka.tls.enabled=true, or leave them out" }}
  {{- end }}
  {{- if ne (empty .certKey) (empty .keyKey) }}
    {{- $wrong = append $wrong "kafka.tls.certKey and kafka.tls.keyKey belong together: give both or neither" }}
  {{- end }}
  {{- if and .certKey (not .existingSecret) }}
    {{- $wrong = append $wrong (printf "kafka.tls.existingSecret is missing: name the Secret that has %s and %s" .certKey .keyKey) }}
  {{- end }}
{{- end }}
{{- with $v.kafka.sasl }}
  {{- if and (not .mechanism) (or .username .existingSecret) }}
    {{- $wrong = append $wrong "kafka.sasl.mechanism is missing: a user or a password is given; choose plain, scram-sha-256 or scram-sha-512" }}
  {{- end }}
  {{- if and .mechanism (not .username) }}
    {{- $wrong = append $wrong (printf "kafka.sasl.username is missing: kafka.sasl.mechanism=%s needs it" .mechanism) }}
  {{- end }}
  {{- if and .mechanism (not .existingSecret) (not (has "TASKSINK_KAFKA_SASL_PASSWORD" $env)) (not (has "TASKSINK_KAFKA_SASL_PASSWORD_FILE" $env)) (not $v.extraEnvFrom) }}
    {{- $wrong = append $wrong (printf "kafka.sasl.existingSecret is missing: name a Secret that has %s" .passwordKey) }}
  {{- end }}
  {{- if and (eq .mechanism "plain") (not $v.kafka.tls.enabled) (not $insecure) }}
    {{- $wrong = append $wrong "kafka.sasl.mechanism=plain without TLS would send the password in clear: set kafka.tls.enabled=true, choose scram-sha-512, or allow it by settings.insecure=true" }}
  {{- end }}
{{- end }}
{{- $url := include "tasksink.setting" (dict "root" .root "name" "hubspot-url") }}
{{- if and (hasPrefix "http://" $url) (not $insecure) (not (regexMatch "^http://(localhost|127[.][0-9.]+|\\[::1\\])(:|/|$)" $url)) }}
  {{- $wrong = append $wrong (printf "settings.hubspot-url=%s: plain http would send the token in clear: use https, or allow it by settings.insecure=true" $url) }}
{{- end }}
{{- range $v.extraArgs }}
  {{- if regexMatch "^--(hubspot-token|kafka-sasl-password)(=|$)" . }}
    {{- $wrong = append $wrong (printf "extraArgs: %s would show a secret to whoever may see the pod: use hubspot.existingSecret and kafka.sasl.existingSecret" (regexFind "^--[a-z-]+" .)) }}
  {{- end }}
{{- end }}
{{- include "tasksink.checkScale" (dict "root" .root "wrong" $wrong) }}
{{- end }}

{{- define "tasksink.checkScale" -}}
{{- $v := .root.Values }}
{{- $wrong := .wrong }}
{{- $auto := or $v.keda.enabled $v.hpa.enabled }}
{{- $partitions := $v.kafka.partitions }}
{{- if and $v.hpa.enabled $v.keda.enabled }}
  {{- $wrong = append $wrong "hpa.enabled and keda.enabled: KEDA makes a HorizontalPodAutoscaler of its own, and two would fight; enable one" }}
{{- end }}
{{- if and $v.keda.enabled (not $v.keda.prometheusAddress) $v.kafka.sasl.mechanism (not $v.kafka.sasl.existingSecret) (not $v.keda.authenticationRef) }}
  {{- $wrong = append $wrong "keda.authenticationRef is missing: KEDA asks Kafka itself and cannot see a password from the environment; name a TriggerAuthentication, or use kafka.sasl.existingSecret" }}
{{- end }}
{{- if and $partitions (not $auto) (gt (int64 $v.replicaCount) (int64 $partitions)) }}
  {{- $wrong = append $wrong (printf "replicaCount=%d: the topics have kafka.partitions=%d, and further replicas would have nothing to do; set replicaCount to at most %d" (int64 $v.replicaCount) (int64 $partitions) (int64 $partitions)) }}
{{- end }}
{{- range $s := list (dict "on" $v.keda.enabled "min" "keda.minReplicaCount" "least" $v.keda.minReplicaCount "max" "keda.maxReplicaCount" "given" $v.keda.maxReplicaCount) (dict "on" $v.hpa.enabled "min" "hpa.minReplicas" "least" $v.hpa.minReplicas "max" "hpa.maxReplicas" "given" $v.hpa.maxReplicas) }}
  {{- if $s.on }}
    {{- $most := include "tasksink.mostReplicas" (dict "root" $.root "least" $s.least) }}
    {{- $max := include "tasksink.maxReplicas" (dict "root" $.root "least" $s.least "given" $s.given) }}
    {{- if not $max }}
      {{- $wrong = append $wrong (printf "%s is missing: with an unlimited rate and kafka.partitions unknown nothing bounds it; give one of them" $s.max) }}
    {{- else if and $partitions (gt (int64 $max) (int64 $partitions)) }}
      {{- $wrong = append $wrong (printf "%s=%s: the topics have kafka.partitions=%d, and further replicas would have nothing to do; set it to at most %d" $s.max $max (int64 $partitions) (int64 $partitions)) }}
    {{- else if and $most (gt (int64 $max) (int64 $most)) }}
      {{- $wrong = append $wrong (printf "%s=%s: the account's %s requests per 10 s feed at most %s replicas, and each one more costs rebalances; lower it, or correct hubspot.requestsPer10s" $s.max $max (include "tasksink.requestsPer10s" $.root) $most) }}
    {{- end }}
    {{- if and $max (gt (int64 $s.least) (int64 $max)) }}
      {{- $wrong = append $wrong (printf "%s=%d: it is more than %s=%s; lower it, or raise the other%s" $s.min (int64 $s.least) $s.max $max (ternary ", which kafka.partitions bounds" "" (not (empty $partitions)))) }}
    {{- end }}
  {{- end }}
{{- end }}
{{- include "tasksink.checkBounds" (dict "root" .root "wrong" $wrong) }}
{{- end }}

{{- define "tasksink.checkBounds" -}}
{{- $v := .root.Values }}
{{- $wrong := .wrong }}
{{- $drain := include "tasksink.setting" (dict "root" .root "name" "drain-timeout") }}
{{- $timeout := include "tasksink.setting" (dict "root" .root "name" "hubspot-timeout") }}
{{- $drainMs := include "tasksink.milliseconds" $drain | int64 }}
{{- if lt $drainMs (add 2000 (include "tasksink.milliseconds" $timeout | int64)) }}
  {{- $wrong = append $wrong (printf "settings.drain-timeout=%s: it must be at least settings.hubspot-timeout=%s + 2s, or a request that is out could not be waited for" $drain $timeout) }}
{{- end }}
{{- if lt (mul 1000 (int64 $v.terminationGracePeriodSeconds)) (add $drainMs 10000) }}
  {{- $wrong = append $wrong (printf "terminationGracePeriodSeconds=%d: it must be at least settings.drain-timeout=%s + 10 s, or Kubernetes kills what still commits; set it to %d" (int64 $v.terminationGracePeriodSeconds) $drain (ceil (divf (add $drainMs 10000) 1000) | int64)) }}
{{- end }}
{{- $pending := include "tasksink.setting" (dict "root" .root "name" "max-pending-bytes") }}
{{- with ((($v.resources).limits).memory) }}
  {{- $limit := include "tasksink.bytes" . }}
  {{- $need := add 67108864 (mul 2 (include "tasksink.bytes" $pending | int64)) }}
  {{- if or (not $limit) (hasSuffix "m" (toString .)) }}{{- /* m is a thousandth to Kubernetes */}}
    {{- $wrong = append $wrong (printf "resources.limits.memory=%s: write it as 256Mi or 1Gi, so that GOMEMLIMIT can be reckoned" (toString .)) }}
  {{- else if lt (int64 $limit) $need }}
    {{- $wrong = append $wrong (printf "resources.limits.memory=%s: settings.max-pending-bytes=%s needs at least twice as much + 64Mi = %dMi; raise the one or lower the other" (toString .) $pending (ceil (divf $need 1048576) | int64)) }}
  {{- end }}
{{- end }}
{{- if and $v.serviceMonitor.enabled (not $v.service.enabled) }}
  {{- $wrong = append $wrong "serviceMonitor.enabled: it finds pods by their Service; set service.enabled=true, or use podMonitor" }}
{{- end }}
{{- if and $v.serviceMonitor.enabled $v.podMonitor.enabled }}
  {{- $wrong = append $wrong "serviceMonitor.enabled and podMonitor.enabled: each pod would be scraped twice; enable one" }}
{{- end }}
{{- $wrong | toJson }}
{{- end }}

{{- define "tasksink.correct" -}}
{{- $wrong := include "tasksink.checks" . | fromJsonArray }}
{{- if $wrong }}
{{- fail (printf "please correct\n  %s\n" (join "\n  " $wrong)) }}
{{- end }}
{{- end }}
