package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/rs/zerolog"
	"gopkg.in/yaml.v3"

	"github.com/tasksink/tasksink/cmd/tasksink/worker"
)

// configPath is the file that --config or TASKSINK_CONFIG names. It is needed before the other settings are read.
func configPath(args []string) string {
	for i, arg := range args {
		if path, is := strings.CutPrefix(arg, "--config="); is {
			return path
		}
		if arg == "--config" && i+1 < len(args) {
			return args[i+1]
		}
	}
	return os.Getenv(envPrefix + "_CONFIG")
}

// readFile makes a source of settings of the YAML file. Keys that no flag has are mistakes.
func readFile(parser *kong.Kong, path string) (source kong.ResolverFunc, mistakes []error) {
	none := func(*kong.Context, *kong.Path, *kong.Flag) (any, error) { return nil, nil }
	if path == "" {
		return none, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return none, []error{fmt.Errorf("--config=%s: %w", path, err)}
	}
	values := map[string]any{}
	if err := yaml.Unmarshal(b, &values); err != nil {
		return none, []error{fmt.Errorf("--config=%s: %w", path, err)}
	}
	known := flagNames(parser)
	for key := range values {
		if !slices.Contains(known, key) {
			mistakes = append(mistakes, fmt.Errorf("--config=%s: there is no setting %q%s", path, key, nearest(key, known)))
		}
	}
	slices.SortFunc(mistakes, func(x, y error) int { return strings.Compare(x.Error(), y.Error()) })
	return func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		v, is := values[flag.Name]
		if !is || v == nil {
			return nil, nil
		}
		for _, env := range flag.Envs { // the environment goes over the file
			if _, set := os.LookupEnv(env); set {
				return nil, nil
			}
		}
		if list, is := v.([]any); is {
			texts := make([]string, len(list))
			for i, e := range list {
				texts[i] = fmt.Sprint(e)
			}
			return strings.Join(texts, ","), nil
		}
		return fmt.Sprint(v), nil
	}, mistakes
}

func flagNames(parser *kong.Kong) (names []string) {
	for _, node := range parser.Model.Leaves(true) {
		for _, group := range node.AllFlags(true) {
			for _, flag := range group {
				if flag.Name != "help" && !slices.Contains(names, flag.Name) {
					names = append(names, flag.Name)
				}
			}
		}
	}
	return names
}

// nearest suggests the known name that is most like the given one, if one is.
func nearest(name string, known []string) string {
	best, least := "", len(name)/2+1
	for _, k := range known {
		if d := distance(name, k); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// distance is Levenshtein's: how many letters must be changed, added or left out.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := before
			if a[i] != b[j] {
				change++
			}
			before = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// warnUnknown names variables that look like ours and are not. They only warn: Kubernetes makes some for a service
// called tasksink.
func warnUnknown(parser *kong.Kong, environ []string, log zerolog.Logger) {
	known := []string{envPrefix + "_CONFIG"}
	for _, name := range flagNames(parser) {
		known = append(known, envPrefix+"_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_")))
	}
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, envPrefix+"_") && !slices.Contains(known, name) {
			log.Warn().Str("variable", name).Msg("unknown variable" + nearest(name, known))
		}
	}
}

func newLog(w io.Writer, level, format string) zerolog.Logger {
	if format == "console" {
		w = zerolog.ConsoleWriter{Out: w}
	}
	parsed, err := zerolog.ParseLevel(level)
	if err != nil {
		parsed = zerolog.InfoLevel // Check has refused it already
	}
	return zerolog.New(w).Level(parsed).With().Timestamp().Logger()
}

func printVersion(w io.Writer, asJSON bool) {
	b := worker.ReadBuild()
	if asJSON {
		_ = json.NewEncoder(w).Encode(b) // nobody is left to tell
		return
	}
	_, _ = fmt.Fprintf(w, "tasksink %s\nrevision %s\n%s\n", b.Version, b.Revision, b.Go)
}
