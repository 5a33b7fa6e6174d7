package check

import (
	"crypto/tls"
	"fmt"
	"strings"
	"time"

	"github.com/tasksink/tasksink/cmd/tasksink/config"
)

// Kafka's own tools, as remedies name them: ready to paste.

// tool is a command line of one of Kafka's scripts.
func tool(cfg config.Config, script, format string, args ...any) string {
	line := script + ".sh --bootstrap-server " + strings.Join(cfg.KafkaBrokers, ",")
	if cfg.UsesTLS() || cfg.KafkaSASLMechanism != "" {
		line += " --command-config admin.properties" // whoever may change things has credentials of his own
	}
	return line + " " + fmt.Sprintf(format, args...)
}

// allow is the command that grants a right; kind is topic or group.
func allow(cfg config.Config, operation, kind, name string) string {
	return tool(cfg, "kafka-acls", "--add --allow-principal %s --operation %s --%s %s", principal(cfg), operation, kind,
		name)
}

// principal is as whom Kafka knows us, unless its mapping rules say otherwise.
func principal(cfg config.Config) string {
	if cfg.KafkaSASLUsername != "" {
		return "User:" + cfg.KafkaSASLUsername
	}
	if cfg.KafkaTLSCert != "" {
		if pair, err := tls.LoadX509KeyPair(cfg.KafkaTLSCert, cfg.KafkaTLSKey); err == nil && pair.Leaf != nil {
			return fmt.Sprintf("'User:%s'", pair.Leaf.Subject)
		}
	}
	return "User:ANONYMOUS"
}

// setTopic is the command that changes a setting of a topic.
func setTopic(cfg config.Config, topic, setting string, value any) string {
	return tool(cfg, "kafka-configs", "--alter --entity-type topics --entity-name %s --add-config %s=%v", topic, setting,
		value)
}

// kept is for how long, as people say it.
func kept(d time.Duration) string {
	switch day := 24 * time.Hour; {
	case d < 0:
		return "for ever"
	case d >= 2*day && d%day == 0:
		return fmt.Sprintf("for %d days", d/day)
	case d >= time.Hour && d%time.Hour == 0:
		return fmt.Sprintf("for %d h", d/time.Hour)
	default:
		return "for " + d.String()
	}
}

// plural is n of something.
func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
