package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

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

// mistakes gathers what is wrong with the settings, so that all of it is told at once.
type mistakes []string

func (m *mistakes) add(err error) {
	if err == nil {
		return
	}
	for _, line := range strings.Split(err.Error(), "\n") {
		if !slices.Contains(*m, line) { // kong may read a value twice
			*m = append(*m, line)
		}
	}
}

// addOthers leaves out what is said of settings that are wrong already: their values were never read.
func (m *mistakes) addOthers(err error) {
	var others mistakes
	others.add(err)
	*m = append(*m, slices.DeleteFunc(others, func(line string) bool {
		flag, _, _ := strings.Cut(line, "=")
		return slices.ContainsFunc(*m, func(told string) bool { return strings.HasPrefix(told, flag+"=") })
	})...)
}

// mappers read the kinds of values that can be wrong. A wrong one leaves the default in its place, and is told.
func (m *mistakes) mappers() []kong.Option {
	return []kong.Option{
		kong.TypeMapper(reflect.TypeFor[time.Duration](), mapper(m, func(text string) (time.Duration, error) {
			d, err := time.ParseDuration(text)
			if err != nil {
				return 0, errors.New("write a time with its unit, such as 500ms, 15s or 2m")
			}
			return d, nil
		})),
		kong.TypeMapper(reflect.TypeFor[int](), mapper(m, func(text string) (int, error) {
			n, err := strconv.Atoi(text)
			if err != nil {
				return 0, errors.New("write a whole number")
			}
			return n, nil
		})),
		kong.TypeMapper(reflect.TypeFor[worker.Size](), mapper(m, func(text string) (s worker.Size, err error) {
			err = s.UnmarshalText([]byte(text))
			return s, err
		})),
		kong.TypeMapper(reflect.TypeFor[worker.Rate](), mapper(m, func(text string) (r worker.Rate, err error) {
			err = r.UnmarshalText([]byte(text))
			return r, err
		})),
	}
}

func mapper[T any](m *mistakes, parse func(string) (T, error)) kong.MapperFunc {
	return func(ctx *kong.DecodeContext, target reflect.Value) error {
		var text string
		if err := ctx.Scan.PopValueInto("value", &text); err != nil {
			return err
		}
		v, err := parse(text)
		if err != nil {
			m.add(fmt.Errorf("--%s=%s: %w", ctx.Value.Name, text, err))
			return nil
		}
		target.Set(reflect.ValueOf(v))
		return nil
	}
}

// without is args without the flag that err calls unknown.
func without(args []string, err error) []string {
	flag, is := strings.CutPrefix(err.Error(), "unknown flag ")
	if !is {
		return args
	}
	flag, _, _ = strings.Cut(flag, ",")
	return slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return arg == flag || strings.HasPrefix(arg, flag+"=") })
}

// readFile makes a source of settings of the YAML file. Keys that no flag has are mistakes.
func readFile(parser *kong.Kong, path string, wrong *mistakes) kong.ResolverFunc {
	none := func(*kong.Context, *kong.Path, *kong.Flag) (any, error) { return nil, nil }
	if path == "" {
		return none
	}
	b, err := os.ReadFile(path)
	if err != nil {
		wrong.add(fmt.Errorf("--config=%s: %w", path, err))
		return none
	}
	values := map[string]any{}
	if err := yaml.Unmarshal(b, &values); err != nil {
		wrong.add(fmt.Errorf("--config=%s: %s", path, strings.ReplaceAll(err.Error(), "\n", " ")))
		return none
	}
	known := flagNames(parser)
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(known, key) {
			wrong.add(fmt.Errorf("--config=%s: there is no setting %q%s", path, key, nearest(key, known)))
		}
	}
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
	}
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

func printVersion(w io.Writer, asJSON bool) {
	b := worker.ReadBuild()
	if asJSON {
		_ = json.NewEncoder(w).Encode(b) // nobody is left to tell
		return
	}
	revision := b.Revision
	if revision == "" {
		revision = "unknown"
	}
	_, _ = fmt.Fprintf(w, "tasksink %s\nrevision %s\n%s\n", b.Version, revision, b.Go)
}
