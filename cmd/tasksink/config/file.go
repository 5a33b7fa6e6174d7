package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// fileValue is what the YAML file says of a setting.
type fileValue struct {
	text  string // as a flag would have it
	place string // FILE:LINE
}

// readFile reads the YAML file. Whatever is in it that is no setting with a value of its kind is a mistake. Values are
// not shown: the key before a token may be misspelt, and broken YAML may be a password.
func (r *Reader) readFile(path string) {
	b, err := os.ReadFile(path)
	if err != nil {
		r.lost = true
		r.add(fmt.Sprintf("--config=%s: %v", path, err))
		return
	}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if !errors.Is(err, io.EOF) { // all comments
			r.addBroken(path, err)
		}
		return
	}
	if err := dec.Decode(&more); err == nil {
		r.add(fmt.Sprintf("%s:%d: a second document begins here: only one is read, so put all settings into it", path,
			more.Line))
	} else if !errors.Is(err, io.EOF) {
		r.addBroken(path, err)
	}
	root := doc.Content[0]
	switch {
	case root.Kind == yaml.MappingNode:
	case root.Tag == "!!null":
		return
	default:
		r.lost = true
		r.add(fmt.Sprintf("%s:%d: write settings, one a line, as in batch-size: 50", path, root.Line))
		return
	}
	seen := map[string]int{}
	for i := 0; i < len(root.Content); i += 2 {
		key := root.Content[i]
		if line, ok := seen[key.Value]; ok && key.Kind == yaml.ScalarNode {
			r.add(fmt.Sprintf("%s:%d: this setting stands in line %d already", path, key.Line, line))
			continue
		}
		seen[key.Value] = key.Line
		r.readKey(path, key, root.Content[i+1])
	}
}

var anyLine = regexp.MustCompile(`line (\d+)`)

// addBroken tells what the YAML parser said. Of a value that begins with * it says the rest, which may be a password.
func (r *Reader) addBroken(path string, err error) {
	r.lost = true
	text := strings.ReplaceAll(strings.TrimPrefix(err.Error(), "yaml: "), "\n", " ")
	if strings.Contains(text, "anchor") {
		text = "a value begins with * or &, which means something else to YAML: write it in quotes"
	}
	if m := anyLine.FindStringSubmatch(text); m != nil {
		text = fmt.Sprintf("%s:%s: %s", path, m[1], strings.TrimPrefix(strings.TrimPrefix(text, m[0]), ": "))
	} else {
		text = path + ": " + text
	}
	r.add(text)
}

func (r *Reader) readKey(path string, key, value *yaml.Node) {
	place := fmt.Sprintf("%s:%d", path, key.Line)
	if value.Kind == yaml.AliasNode {
		value = value.Alias
	}
	s, ok := settingCalled(key.Value)
	if key.Kind != yaml.ScalarNode || !ok {
		r.addUnknownKey(place, key, value)
		return
	}
	text, problem := scalar(s, value)
	if problem != "" {
		r.wrongValue[s.Name()] = true
		r.add(fmt.Sprintf("%s: %s: %s", place, s.Name(), problem))
		return
	}
	r.file[s.Name()] = fileValue{text, place}
}

func (r *Reader) addUnknownKey(place string, key, value *yaml.Node) {
	if key.Kind != yaml.ScalarNode {
		r.add(place + ": there is no such setting")
		return
	}
	if value.Kind == yaml.MappingNode {
		for i := 0; i < len(value.Content); i += 2 {
			if s, ok := settingCalled(key.Value + "-" + value.Content[i].Value); ok {
				r.wrongValue[s.Name()] = true
				r.add(fmt.Sprintf("%s: settings are not nested: write %s, and so on", place, s.Name()))
				return
			}
		}
	}
	var known []string
	for _, s := range Settings() {
		known = append(known, s.Name())
	}
	near := nearest(key.Value, known)
	r.wrongValue[near] = true // it was not given, but that is not the mistake
	text := place + ": there is no such setting"
	if near != "" && speakable(key.Value, near) { // the line says which, and may be nothing but a secret
		text = fmt.Sprintf("%s: there is no setting %q", place, key.Value)
	}
	if near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
	}
	r.add(text)
}

// scalar is the value as a flag would have it, or what is wrong with it. It takes what the schema for editors takes.
func scalar(s Setting, v *yaml.Node) (text, problem string) {
	switch v.Kind {
	case yaml.MappingNode:
		return "", "it takes a value, and has settings of its own here"
	case yaml.SequenceNode:
		if s.Kind != KindList {
			return "", "it takes one value, and has a list"
		}
		var list []string
		for _, e := range v.Content {
			text, problem := scalar(s, e)
			if e.Kind != yaml.ScalarNode {
				problem = "each name in the list is a text"
			}
			if problem != "" {
				return "", problem
			}
			list = append(list, text)
		}
		return strings.Join(list, ","), ""
	}
	number, isNumber := whole(v)
	switch {
	case v.Tag == "!!null":
		return "", "it has no value: leave it out for the default"
	case s.Kind == KindBool:
		var on bool
		if v.Tag != "!!bool" || v.Decode(&on) != nil {
			return "", "write true or false"
		}
		return strconv.FormatBool(on), ""
	case isNumber && (s.Kind == KindInt || s.Kind == KindRate || s.Kind == KindSize):
		return strconv.FormatInt(number, 10), ""
	case s.Kind == KindInt:
		return "", "write a whole number, without quotes"
	case s.Kind == KindRate && v.Value != "auto":
		return "", "write auto, or a number of requests, without quotes; 0 is unlimited"
	case s.Kind == KindSize && v.Tag != "!!str":
		return "", "write a size in bytes, such as 1MiB or 1048576"
	case s.Kind == KindDuration && v.Tag != "!!str":
		return "", "write a time with its unit, such as 500ms, 15s or 2m"
	case v.Tag != "!!str" && v.Tag != "!!timestamp":
		return "", "it is no text to YAML: write it in quotes"
	default:
		return v.Value, ""
	}
}

// whole is the number in a file, if it is a whole one: 1000, 1_000, 0x3e8, 1e3.
func whole(v *yaml.Node) (n int64, ok bool) {
	var f float64
	if v.Tag != "!!int" && v.Tag != "!!float" || v.Decode(&f) != nil || f != math.Trunc(f) || v.Decode(&n) != nil {
		return 0, false
	}
	return n, true
}
