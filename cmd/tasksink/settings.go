package main

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/rs/zerolog"

	"github.com/tasksink/tasksink/cmd/tasksink/worker"
)

// source is where the value of a setting comes from.
type source struct {
	Kind string `json:"source"`         // flag, variable, file or default
	Name string `json:"from,omitempty"` // the variable's name, or the file's with the line
}

// reader gathers the settings from flags, variables and the file, and what is wrong with them, so that all of it is
// told at once.
type reader struct {
	env        map[string]string
	file       map[string]fileValue // by the setting's name; read when the first value is asked for
	wrong      []string
	wrongValue map[string]bool // settings that have no value now, as theirs could not be read
	lost       bool            // the file could not be read
	sources    map[string]source
}

func newReader(environ []string) *reader {
	r := &reader{env: map[string]string{}, wrongValue: map[string]bool{}, sources: map[string]source{}}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		r.env[name] = value
	}
	return r
}

func (r *reader) add(lines ...string) {
	for _, line := range lines {
		if !slices.Contains(r.wrong, line) { // kong may read a value twice
			r.wrong = append(r.wrong, line)
		}
	}
}

var mentioned = regexp.MustCompile(`--([a-z][a-z0-9-]*)`)

// addCheck takes what Check says, but for what follows from a value that could not be read: the default stands in its
// place, and what it would not fit to is no mistake yet.
func (r *reader) addCheck(err error) {
	if err == nil {
		return
	}
	for _, s := range worker.Settings() {
		if _, is := r.sources[s.Name()]; r.lost && !is {
			r.wrongValue[s.Name()] = true // the file may say it
		}
	}
	for _, line := range strings.Split(err.Error(), "\n") {
		if !slices.ContainsFunc(mentioned.FindAllStringSubmatch(line, -1), func(m []string) bool { return r.wrongValue[m[1]] }) {
			r.add(line)
		}
	}
}

// mistakes are all that is wrong, each with where it stands if that is not the command line.
func (r *reader) mistakes() (lines []string) {
	for _, line := range r.wrong {
		if name, _, is := strings.Cut(strings.TrimPrefix(line, "--"), "="); is && strings.HasPrefix(line, "--") {
			if from := r.sources[name].Name; from != "" {
				line += " (" + from + ")"
			}
		}
		lines = append(lines, line)
	}
	return lines
}

// Validate is for kong.
func (r *reader) Validate(*kong.Application) error { return nil }

// Resolve gives kong the value of a setting that no flag gives: the variable's, else the file's.
func (r *reader) Resolve(ctx *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if r.file == nil {
		r.file = map[string]fileValue{}
		if path := r.configPath(ctx); path != "" {
			r.readFile(path)
		}
	}
	if _, is := settingCalled(flag.Name); !is && flag.Name != "config" {
		return nil, nil
	}
	variable := variableOf(flag.Name)
	if text, set := r.env[variable]; set {
		r.sources[flag.Name] = source{"variable", variable}
		return text, nil
	}
	if v, set := r.file[flag.Name]; set {
		r.sources[flag.Name] = source{"file", v.place}
		return v.text, nil
	}
	return nil, nil
}

// configPath is the file that --config or TASKSINK_CONFIG names. It is needed before the other settings are read.
func (r *reader) configPath(ctx *kong.Context) string {
	for _, flag := range ctx.Flags() {
		if path, is := ctx.FlagValue(flag).(string); is && flag.Name == "config" {
			if path != "" {
				return path
			}
			return r.env[variableOf("config")]
		}
	}
	return ""
}

// readFlags notes which settings came from flags.
func (r *reader) readFlags(ctx *kong.Context) {
	for _, p := range ctx.Path {
		if p.Flag != nil && !p.Resolved {
			r.sources[p.Flag.Name] = source{Kind: "flag"}
		}
	}
}

// mappers read the kinds of values that can be wrong. A wrong one leaves the default in its place, and is told.
func (r *reader) mappers() []kong.Option {
	return []kong.Option{
		kong.TypeMapper(reflect.TypeFor[time.Duration](), mapper(r, worker.ParseDuration)),
		kong.TypeMapper(reflect.TypeFor[int](), mapper(r, func(text string) (int, error) {
			n, err := strconv.Atoi(text)
			if err != nil {
				return 0, errors.New("write a whole number")
			}
			return n, nil
		})),
		kong.TypeMapper(reflect.TypeFor[worker.Size](), mapper(r, func(text string) (s worker.Size, err error) {
			err = s.UnmarshalText([]byte(text))
			return s, err
		})),
		kong.TypeMapper(reflect.TypeFor[worker.Rate](), mapper(r, func(text string) (v worker.Rate, err error) {
			err = v.UnmarshalText([]byte(text))
			return v, err
		})),
		kong.TypeMapper(reflect.TypeFor[moment](), mapper(r, parseMoment)),
		kong.TypeMapper(reflect.TypeFor[bool](), boolMapper{mapper(r, func(text string) (bool, error) {
			v, err := strconv.ParseBool(text)
			if err != nil {
				return false, errors.New("write true or false")
			}
			return v, nil
		})}),
		kong.TypeMapper(reflect.TypeFor[[]string](), kong.MapperFunc(decodeList)),
	}
}

func mapper[T any](r *reader, parse func(string) (T, error)) kong.MapperFunc {
	return func(ctx *kong.DecodeContext, target reflect.Value) error {
		var text string
		if err := ctx.Scan.PopValueInto("value", &text); err != nil {
			return err
		}
		v, err := parse(text)
		if err != nil {
			r.wrongValue[ctx.Value.Name] = true
			r.add(fmt.Sprintf("--%s=%s: %v", ctx.Value.Name, shown(text), err))
			v, _ = parse(ctx.Value.Default)
		}
		target.Set(reflect.ValueOf(v))
		return nil
	}
}

// boolMapper is for flags that need no value.
type boolMapper struct{ kong.MapperFunc }

// IsBool is for kong.
func (boolMapper) IsBool() bool { return true }

// Decode reads the value, if there is one.
func (m boolMapper) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	if ctx.Scan.Peek().Type == kong.FlagValueToken {
		return m.MapperFunc(ctx, target)
	}
	target.SetBool(true)
	return nil
}

// decodeList reads a comma list. Blanks around the commas are no part of the names, and a flag that is given twice
// adds to the list. Arguments without a flag are a list themselves.
func decodeList(ctx *kong.DecodeContext, target reflect.Value) error {
	if ctx.Value.Flag == nil {
		for ctx.Scan.Peek().IsValue() {
			target.Set(reflect.Append(target, reflect.ValueOf(ctx.Scan.Pop().String())))
		}
		return nil
	}
	var text string
	if err := ctx.Scan.PopValueInto("value", &text); err != nil {
		return err
	}
	if text == "" {
		return nil
	}
	list := target.Interface().([]string)
	for _, e := range strings.Split(text, ",") {
		list = append(list, strings.TrimSpace(e))
	}
	target.Set(reflect.ValueOf(list))
	return nil
}

// shown is a value as a message shows it: on one line, and not endlessly long.
func shown(text string) string {
	if quoted := strconv.Quote(text); quoted != `"`+text+`"` || len(text) > 80 {
		return quoted[:min(len(quoted), 80)]
	}
	return text
}

func settingCalled(name string) (worker.Setting, bool) {
	for _, s := range worker.Settings() {
		if s.Name() == name {
			return s, true
		}
	}
	return worker.Setting{}, false
}

func variableOf(name string) string {
	return worker.EnvPrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// warnUnknown names variables that look like ours and are not. They only warn: Kubernetes makes some for a service
// called tasksink.
func (r *reader) warnUnknown(log zerolog.Logger) {
	known := []string{variableOf("config")}
	for _, s := range worker.Settings() {
		known = append(known, s.Env)
	}
	for _, name := range slices.Sorted(maps.Keys(r.env)) {
		if !strings.HasPrefix(name, worker.EnvPrefix) || slices.Contains(known, name) {
			continue
		}
		message := "unknown variable"
		if near := nearest(name, known); near != "" {
			message += "; did you mean " + near + "?"
		}
		log.Warn().Str("variable", name).Msg(message)
	}
}
