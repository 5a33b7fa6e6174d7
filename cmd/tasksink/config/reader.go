package config

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
)

// Source is where the value of a setting comes from.
type Source struct {
	Kind string `json:"source"`         // flag, variable, file or default
	Name string `json:"from,omitempty"` // the variable's name, or the file's with the line
}

// String is how people read it.
func (s Source) String() string {
	if s.Name != "" {
		return s.Name
	}
	return s.Kind
}

// Reader gathers the settings from flags, variables and the file, and what is wrong with them, so that all of it is
// told at once. Use: give a kong parser its Options, let it Parse, AddCheck what Check says, and ask for the Mistakes.
type Reader struct {
	env        map[string]string
	file       map[string]fileValue // by the setting's name; read when the first value is asked for
	wrong      []string
	wrongValue map[string]bool // settings that have no value now, as theirs could not be read
	lost       bool            // the file could not be read
	sources    map[string]Source
}

// NewReader returns a Reader of these variables, each NAME=value.
func NewReader(environ []string) *Reader {
	r := &Reader{env: map[string]string{}, wrongValue: map[string]bool{}, sources: map[string]Source{}}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		r.env[name] = value
	}
	return r
}

func (r *Reader) add(lines ...string) {
	for _, line := range lines {
		if !slices.Contains(r.wrong, line) { // kong may read a value twice
			r.wrong = append(r.wrong, line)
		}
	}
}

var mentioned = regexp.MustCompile(`--([a-z][a-z0-9-]*)`)

// AddCheck takes what Check says, but for what follows from a value that could not be read: the default stands in its
// place, and what it would not fit to is no mistake yet.
func (r *Reader) AddCheck(err error) {
	if err == nil {
		return
	}
	for _, s := range Settings() {
		if _, ok := r.sources[s.Name()]; r.lost && !ok {
			r.wrongValue[s.Name()] = true // the file may say it
		}
	}
	for _, line := range strings.Split(err.Error(), "\n") {
		if !slices.ContainsFunc(mentioned.FindAllStringSubmatch(line, -1),
			func(m []string) bool { return r.wrongValue[m[1]] }) {
			r.add(line)
		}
	}
}

// Mistakes are all that is wrong, each with where it stands if that is not the command line.
func (r *Reader) Mistakes() (lines []string) {
	for _, line := range r.wrong {
		if name, _, ok := strings.Cut(strings.TrimPrefix(line, "--"), "="); ok && strings.HasPrefix(line, "--") {
			if from := r.sources[name].Name; from != "" {
				line += " (" + from + ")"
			}
		}
		lines = append(lines, line)
	}
	return lines
}

// Validate is for kong.
func (r *Reader) Validate(*kong.Application) error { return nil }

// Resolve gives kong the value of a setting that no flag gives: the variable's, else the file's.
func (r *Reader) Resolve(ctx *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if r.file == nil {
		r.file = map[string]fileValue{}
		if path := r.configPath(ctx); path != "" {
			r.readFile(path)
		}
	}
	if _, ok := settingCalled(flag.Name); !ok && flag.Name != "config" {
		return nil, nil
	}
	variable := variableOf(flag.Name)
	if text, set := r.env[variable]; set {
		r.sources[flag.Name] = Source{"variable", variable}
		return text, nil
	}
	if v, set := r.file[flag.Name]; set {
		r.sources[flag.Name] = Source{"file", v.place}
		return v.text, nil
	}
	return nil, nil
}

// configPath is the file that --config or TASKSINK_CONFIG names. It is needed before the other settings are read.
func (r *Reader) configPath(ctx *kong.Context) string {
	for _, flag := range ctx.Flags() {
		if path, ok := ctx.FlagValue(flag).(string); ok && flag.Name == "config" {
			if path != "" {
				return path
			}
			return r.env[variableOf("config")]
		}
	}
	return ""
}

// readFlags notes which settings came from flags.
func (r *Reader) readFlags(ctx *kong.Context) {
	for _, p := range ctx.Path {
		if p.Flag != nil && !p.Resolved {
			r.sources[p.Flag.Name] = Source{Kind: "flag"}
		}
	}
}

// Options are for the parser that is to Parse.
func (r *Reader) Options() []kong.Option {
	return append(r.mappers(), kong.Resolvers(r), kong.ExplicitGroups(Groups), kong.ValueFormatter(describe))
}

// Parse lets the parser read the arguments, and returns the command that they name; nil if that is not known.
func (r *Reader) Parse(parser *kong.Kong, args []string) *kong.Node {
	args = r.readArgs(parser.Model.Node, args)
	if len(args) == 0 && len(r.wrong) > 0 {
		return nil
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		r.add(err.Error())
		return nil
	}
	r.readFlags(parsed)
	return parsed.Selected()
}

// Source says where the value of a setting came from.
func (r *Reader) Source(name string) Source {
	if from, ok := r.sources[name]; ok {
		return from
	}
	return Source{Kind: "default"}
}

// mappers are those of the settings.
func (r *Reader) mappers() []kong.Option {
	return []kong.Option{
		kong.TypeMapper(reflect.TypeFor[time.Duration](), Mapper(r, ParseDuration)),
		kong.TypeMapper(reflect.TypeFor[int](), Mapper(r, func(text string) (int, error) {
			n, err := strconv.Atoi(text)
			if err != nil {
				return 0, errors.New("write a whole number")
			}
			return n, nil
		})),
		kong.TypeMapper(reflect.TypeFor[Size](), Mapper(r, func(text string) (s Size, err error) {
			err = s.UnmarshalText([]byte(text))
			return s, err
		})),
		kong.TypeMapper(reflect.TypeFor[Rate](), Mapper(r, func(text string) (v Rate, err error) {
			err = v.UnmarshalText([]byte(text))
			return v, err
		})),
		kong.TypeMapper(reflect.TypeFor[bool](), boolMapper{Mapper(r, func(text string) (bool, error) {
			v, err := strconv.ParseBool(text)
			if err != nil {
				return false, errors.New("write true or false")
			}
			return v, nil
		})}),
		kong.TypeMapper(reflect.TypeFor[[]string](), kong.MapperFunc(decodeList)),
	}
}

// Mapper reads a kind of values that can be wrong. A wrong one leaves the default in its place, and is told.
func Mapper[T any](r *Reader, parse func(string) (T, error)) kong.MapperFunc {
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

func settingCalled(name string) (Setting, bool) {
	for _, s := range Settings() {
		if s.Name() == name {
			return s, true
		}
	}
	return Setting{}, false
}

func variableOf(name string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// WarnUnknown names variables that look like ours and are not. They only warn: Kubernetes makes some for a service
// called tasksink.
func (r *Reader) WarnUnknown(log zerolog.Logger) {
	known := []string{variableOf("config")}
	for _, s := range Settings() {
		known = append(known, s.Env)
	}
	for _, name := range slices.Sorted(maps.Keys(r.env)) {
		if !strings.HasPrefix(name, EnvPrefix) || slices.Contains(known, name) {
			continue
		}
		message := "unknown variable"
		if near := nearest(name, known); near != "" {
			message += "; did you mean " + near + "?"
		}
		log.Warn().Str("variable", name).Msg(message)
	}
}
