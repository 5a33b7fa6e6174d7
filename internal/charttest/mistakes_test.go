package charttest

import (
	"regexp"
	"strings"
	"testing"
)

// mistakes are refused. Each is set over ci/minimal-values.yaml; testdata/mistakes.golden has what Helm says.
var mistakes = []string{
	// what cannot work, with its remedy
	"kafka.brokers=",
	"kafka.brokers={kafka}",
	"kafka.brokers={https://kafka:9092}",
	"kafka.topics=null",
	"kafka.dlqTopic=tasks",
	"kafka.topics={tasks,tasks.dlq}",
	"kafka.topics={" + strings.Repeat("x", 246) + "}",
	"hubspot.existingSecret=",
	"hubspot.existingSecret=,hubspot.oauth.clientID=app",
	"hubspot.idProperty=hs_object_id",
	"hubspot.idProperties={invoice_id,hs_object_id}",
	"hubspot.idProperties={external_task_id}",
	"kafka.tls.existingSecret=kafka-tls",
	"kafka.tls.enabled=true,kafka.tls.existingSecret=kafka-tls,kafka.tls.certKey=tls.crt",
	"kafka.tls.enabled=true,kafka.tls.certKey=tls.crt,kafka.tls.keyKey=tls.key",
	"kafka.sasl.username=tasksink",
	"kafka.sasl.mechanism=scram-sha-512",
	"kafka.sasl.mechanism=plain,kafka.sasl.username=tasksink,kafka.sasl.existingSecret=kafka-user",
	"settings.hubspot-url=http://hubspot.internal",
	"extraArgs={--hubspot-token=pat-eu1-secret}",
	"kafka.partitions=1",
	"keda.enabled=true,hpa.enabled=true",
	"keda.enabled=true,kafka.partitions=3,keda.maxReplicaCount=4",
	"keda.enabled=true,keda.maxReplicaCount=6",
	"keda.enabled=true,keda.minReplicaCount=4,kafka.partitions=3",
	"keda.enabled=true,settings.hubspot-rate=0",
	"keda.enabled=true,kafka.tls.enabled=true,kafka.sasl.mechanism=plain,kafka.sasl.username=tasksink,extraEnv[0].name=TASKSINK_KAFKA_SASL_PASSWORD,extraEnv[0].value=secret",
	"hpa.enabled=true,hpa.maxReplicas=50",
	"hpa.enabled=true,hpa.minReplicas=3,hpa.maxReplicas=2",
	"settings.drain-timeout=16s",
	"settings.drain-timeout=1m",
	"terminationGracePeriodSeconds=20",
	"settings.batch-size=101",
	"settings.batch-size=0",
	"resources.limits.memory=128Mi",
	"settings.max-pending-bytes=256MiB",
	"resources.limits.memory=much",
	"resources.limits.memory=256m",
	"serviceMonitor.enabled=true",
	"service.enabled=true,serviceMonitor.enabled=true,podMonitor.enabled=true",
	// several at once
	"kafka.brokers=,hubspot.existingSecret=,settings.drain-timeout=16s,terminationGracePeriodSeconds=5",
	// what is malformed
	"kafak.brokers={kafka:9092}",
	"kafka.broker={kafka:9092}",
	"kafka.topics={}",
	"kafka.topics={not a topic}",
	"kafka.topics={..}",
	"kafka.topics={tasks,tasks}",
	"kafka.topics={" + strings.Repeat("x", 250) + "}",
	"kafka.dlqTopic=not a topic",
	"kafka.dlqTopic=.",
	"kafka.partitions=0",
	"kafka.partitions=many",
	"kafka.sasl.mechanism=gssapi",
	"hubspot.token=pat-eu1-secret",
	"hubspot.existingSecret=Not_A_Name",
	"hubspot.idProperty=my id",
	"hubspot.idProperties=invoice_id",
	"hubspot.idProperties={invoice-id}",
	"hubspot.idProperties={invoice_id,invoice_id}",
	"hubspot.idProperties={}",
	"deadLetterRecords={tasks/0}",
	"settings.batch-waits=1s",
	"settings.batch-wait=1",
	"settings.batch-wait=soon",
	"settings.batch-size=many",
	"settings.hubspot-token=pat-eu1-secret",
	"settings.kafka-brokers={kafka:9092}",
	"settings.log-level=loud",
	"settings.max-pending-bytes=1 potato",
	"settings.insecure=maybe",
	"replicaCount=-1",
	"keda.minReplicaCount=0",
	"image.digest=latest",
	"port=80",
	"podDisruptionBudget.maxUnavailable=0",
	"podMonitor.interval=15",
	"extraArgs={run}",
}

// TestMistakes: what cannot work is refused before anything is installed, and the refusal says what to do.
func TestMistakes(t *testing.T) {
	t.Parallel()
	noise := regexp.MustCompile(`(?m)^Use --debug.*\n|^Error: |execution error at \(.*?\): |^\s*\n`)
	var told strings.Builder
	for _, set := range mistakes {
		_, errs, ok := helm(t, "template", "tasksink", chart, "--values="+chart+"/ci/minimal-values.yaml", "--set="+set)
		if ok {
			t.Errorf("--set '%s' was not refused", set)
		}
		if strings.Contains(errs, "pat-eu1-secret") {
			t.Errorf("--set '%s' shows a secret: %s", set, errs)
		}
		told.WriteString("--set '" + set + "'\n" + noise.ReplaceAllString(errs, "") + "\n")
	}
	golden(t, "testdata/mistakes.golden", told.String())
}

// TestNotes: what a user is told to look at next.
func TestNotes(t *testing.T) {
	t.Parallel()
	var told strings.Builder
	for _, args := range [][]string{{"minimal"}, {"keda"}, {"hpa"},
		{"minimal", "--set=replicaCount=9,hubspot.idProperty="},
		{"minimal", "--set=hubspot.idProperty=,hubspot.idProperties={invoice_id}"}, {"everything"}} {
		out, errs, ok := helm(t, append([]string{"install", "tasksink", chart, "--namespace=prod", "--dry-run=client",
			"--values=" + chart + "/ci/" + args[0] + "-values.yaml"}, args[1:]...)...)
		_, notes, found := strings.Cut(out, "\nNOTES:\n")
		if !ok || !found {
			t.Fatalf("%v: no notes in %s%s", args, out, errs)
		}
		told.WriteString("== " + strings.Join(args, " ") + "\n" + notes + "\n")
	}
	golden(t, "testdata/notes.golden", told.String())
}
