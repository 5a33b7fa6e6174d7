package config

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
)

// Setting describes one setting of Config.
type Setting struct {
	Flag    string   // --batch-size; the key in the YAML file is batch-size
	Env     string   // TASKSINK_BATCH_SIZE
	Default string   // as it is written; empty: none
	Group   string   // kafka, kafka-security, hubspot, hubspot-login, hubspot-limits, batches, behaviour or process
	Kind    Kind     // how its value is written
	Choices []string // the values there are; nil: others, too
	Least   string   // bounds, as they are written; empty: none
	Most    string
	Secret  bool // never shown
	Help    string
}

// Kind says how a value is written.
type Kind string

// The kinds of values.
const (
	KindText     Kind = "text"
	KindList     Kind = "list" // texts, separated by commas
	KindFile     Kind = "file"
	KindBool     Kind = "bool"
	KindInt      Kind = "int"
	KindDuration Kind = "duration"
	KindSize     Kind = "size"
	KindRate     Kind = "rate"
	KindURL      Kind = "url"
	KindPath     Kind = "path"
	KindZone     Kind = "zone"
)

// Patterns are what texts of a kind look like. They are narrower than what the parsers take, so that an editor, which
// has only the schema, judges as the program does.
var Patterns = map[Kind]*regexp.Regexp{
	KindDuration: regexp.MustCompile(`^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`),
	KindSize:     regexp.MustCompile(`^[0-9]{1,15}(\.[0-9]+)? ?([kKMG]i?)?B?$`),
	KindPath:     regexp.MustCompile(`^/`),
}

// EnvPrefix begins the name of each setting's variable.
const EnvPrefix = "TASKSINK_"

// Settings are those of Config, in its order. The slice is shared: do not change it.
var Settings = sync.OnceValue(func() (all []Setting) {
	for f := range reflect.TypeFor[Config]().Fields() {
		name := f.Tag.Get("name")
		s := Setting{Flag: "--" + name, Env: EnvPrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_")),
			Default: f.Tag.Get("default"),
			Group:   f.Tag.Get("group"), Kind: kindOf(f), Least: f.Tag.Get("least"), Most: f.Tag.Get("most"),
			Secret: f.Type == reflect.TypeFor[Secret](),
			Help:   f.Tag.Get("help")}
		if choices := f.Tag.Get("choices"); choices != "" {
			s.Choices = strings.Split(choices, ",")
		}
		all = append(all, s)
	}
	return all
})

func kindOf(f reflect.StructField) Kind {
	if kind := f.Tag.Get("kind"); kind != "" {
		return Kind(kind)
	}
	switch f.Type {
	case reflect.TypeFor[[]string]():
		return KindList
	case reflect.TypeFor[bool]():
		return KindBool
	case reflect.TypeFor[int]():
		return KindInt
	case reflect.TypeFor[time.Duration]():
		return KindDuration
	case reflect.TypeFor[Size]():
		return KindSize
	case reflect.TypeFor[Rate]():
		return KindRate
	default:
		return KindText
	}
}

// Name is the flag without its dashes: the key in the YAML file.
func (s Setting) Name() string { return strings.TrimPrefix(s.Flag, "--") }

// Bounds says in words which values there are: "1 to 100", "json or console"; empty if there is nothing to say.
func (s Setting) Bounds() string {
	switch n := len(s.Choices); {
	case n > 0:
		return strings.Join(s.Choices[:n-1], ", ") + " or " + s.Choices[n-1]
	case s.Most != "":
		return s.Least + " to " + s.Most
	case s.Least != "" && s.Least != "0s": // no time can be written that is less
		return "at least " + s.Least
	default:
		return ""
	}
}

// Value is what cfg has for the setting: []string, bool, int (also for a size without a unit), or text as it is
// written, and *** for a secret. nil: it is not set.
func (s Setting) Value(cfg Config) any {
	i := slices.IndexFunc(Settings(), func(other Setting) bool { return other.Flag == s.Flag })
	switch v := reflect.ValueOf(cfg).Field(i).Interface().(type) {
	case []string:
		if len(v) == 0 {
			return nil
		}
		shown := slices.Clone(v)
		for i := range shown {
			shown[i] = masked(shown[i])
		}
		return shown
	case bool, int:
		return v
	case Rate:
		if v.Auto {
			return "auto"
		}
		return v.N
	case Size:
		if text := v.String(); strings.HasSuffix(text, "B") {
			return text
		}
		return int(v)
	case time.Duration:
		return writtenDuration(v)
	default:
		text := fmt.Sprint(v)
		if s.Kind == KindURL {
			text = masked(text)
		}
		if text == "" {
			return nil
		}
		return text
	}
}

// checkBounds holds each value against its setting's choices and bounds.
func (c Config) checkBounds(wrong func(string, ...any)) {
	config := reflect.ValueOf(c)
	for i, s := range Settings() {
		value := config.Field(i)
		text := fmt.Sprint(value.Interface())
		switch {
		case s.Secret:
		case s.Choices != nil && !slices.Contains(s.Choices, text) && (text != "" || s.Default != ""):
			wrong("%s=%s: choose %s", s.Flag, text, s.Bounds())
		case s.Kind == KindPath && !Patterns[KindPath].MatchString(text):
			wrong("%s=%s: it must begin with /", s.Flag, text)
		case s.Least != "" && value.Int() < s.number(s.Least), s.Most != "" && value.Int() > s.number(s.Most):
			wrong("%s=%s: it must be %s", s.Flag, text, s.Bounds())
		}
	}
}

// number is what the text of a bound means.
func (s Setting) number(text string) int64 {
	switch s.Kind {
	case KindDuration:
		d, _ := ParseDuration(text)
		return int64(d)
	case KindSize:
		var size Size
		_ = size.UnmarshalText([]byte(text))
		return int64(size)
	default:
		n, _ := strconv.ParseInt(text, 10, 64)
		return n
	}
}

// ParseDuration reads a time with its unit.
func ParseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || !Patterns[KindDuration].MatchString(text) {
		return 0, errors.New("write a time with its unit, such as 500ms, 15s or 2m")
	}
	return d, nil
}

// writtenDuration is 2m rather than 2m0s.
func writtenDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// Size is a number of bytes: 1048576, 1MiB, 64MB.
type Size int64

// UnmarshalText reads a size.
func (s *Size) UnmarshalText(text []byte) error {
	n, err := humanize.ParseBytes(string(text))
	if err != nil || n > 1<<40 || !Patterns[KindSize].Match(text) {
		return errors.New("write a size in bytes, such as 1MiB or 1048576")
	}
	*s = Size(n)
	return nil
}

// String is the size as it would be written: 1MiB, or 1000000.
func (s Size) String() string {
	for shift, unit := range []string{"GiB", "MiB", "KiB"} {
		if one := Size(1) << (30 - 10*shift); s >= one && s%one == 0 {
			return fmt.Sprintf("%d%s", int64(s/one), unit)
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// Rate is a number of requests per window, or of calls per day, or auto.
type Rate struct {
	Auto bool
	N    int
}

// UnmarshalText reads a rate.
func (r *Rate) UnmarshalText(text []byte) error {
	if string(text) == "auto" {
		*r = Rate{Auto: true}
		return nil
	}
	n, err := strconv.Atoi(string(text))
	if err != nil || n < 0 {
		return errors.New("write auto, or a number of requests; 0 is unlimited")
	}
	*r = Rate{N: n}
	return nil
}

// String is the rate as it is written.
func (r Rate) String() string {
	if r.Auto {
		return "auto"
	}
	return strconv.Itoa(r.N)
}
