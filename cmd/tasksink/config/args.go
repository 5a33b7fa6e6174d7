package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
	"github.com/alecthomas/kong"
)

// readArgs goes through the arguments before kong does, and leaves out what kong would stop at, so that all that is
// wrong is told at once. It shows nothing that may be a value: behind a misspelt --hubspot-token stands a token.
func (r *Reader) readArgs(root *kong.Node, args []string) (good []string) {
	node, positionals := root, 0
	dangling := false // what went before has no place: what comes may be its value
	flagsEnded := false
	for i := 0; i < len(args); i++ {
		arg, wasDangling := args[i], dangling
		dangling = false
		if arg == "--" && !flagsEnded {
			flagsEnded = true
			good = append(good, arg)
			continue
		}
		if flagsEnded || arg == "-" || !strings.HasPrefix(arg, "-") {
			child := childOf(node, arg)
			switch {
			case child != nil:
				node, positionals = child, 0
			case len(node.Children) > 0:
				r.add(unknownCommand(node, arg, i+1))
				return nil // which flags it has is not known
			case positionals < len(node.Positional) || positionals > 0 && node.Positional[len(node.Positional)-1].IsCumulative():
				positionals++
			default:
				dangling = true
				r.add(fmt.Sprintf("argument %d is not expected: settings are written --name=value", i+1))
				continue
			}
			good = append(good, arg)
			continue
		}
		name, _, complete := strings.Cut(arg, "=")
		flag, glued := findFlag(node, name)
		hasNext := i+1 < len(args) && (args[i+1] == "-" || !strings.HasPrefix(args[i+1], "-"))
		switch {
		case flag == nil:
			r.addUnknownFlag(root, node, name, i+1, wasDangling)
			dangling = !complete
			if dangling && hasNext && childOf(node, args[i+1]) == nil {
				i++ // its value, unseen
			}
		case complete || glued || flag.IsBool() || flag.IsCounter():
			good = append(good, arg)
		case hasNext:
			good = append(good, arg, args[i+1])
			i++
		default:
			dangling = true
			r.wrongValue[flag.Name] = true
			r.add(fmt.Sprintf("%s has no value: write %s=%s", name, name, flag.FormatPlaceHolder()))
		}
	}
	return good
}

func childOf(node *kong.Node, name string) *kong.Node {
	for _, child := range node.Children {
		if child.Name == name || slices.Contains(child.Aliases, name) {
			return child
		}
	}
	return nil
}

// findFlag finds the flag that the command, or one above it, has. A short one may be glued to its value.
func findFlag(node *kong.Node, name string) (flag *kong.Flag, glued bool) {
	for _, group := range node.AllFlags(false) {
		for _, f := range group {
			short := "-" + string(f.Short)
			switch {
			case "--"+f.Name == name, f.Short != 0 && short == name, f.Tag.Negatable != "" && "--no-"+f.Name == name:
				return f, false
			case f.Short != 0 && !f.IsBool() && strings.HasPrefix(name, short) && !strings.HasPrefix(name, "--"):
				return f, true
			}
		}
	}
	return nil, false
}

func unknownCommand(node *kong.Node, name string, position int) string {
	var known []string
	for _, child := range node.Children {
		known = append(known, child.Name)
	}
	if near := nearest(name, known); near != "" {
		return fmt.Sprintf("there is no command %s; did you mean %s?", name, near)
	}
	return fmt.Sprintf("argument %d is no command: write one of %s", position, strings.Join(known, ", "))
}

func (r *Reader) addUnknownFlag(root, node *kong.Node, name string, position int, dangling bool) {
	var known []string
	for _, group := range node.AllFlags(true) {
		for _, f := range group {
			known = append(known, "--"+f.Name)
		}
	}
	if node == root {
		for _, leaf := range root.Leaves(true) {
			if f, _ := findFlag(leaf, name); f != nil {
				r.wrongValue[f.Name] = true
				r.add(fmt.Sprintf("%s stands before the command: write it behind, as in %s %s --%s", name, root.Name, leaf.Path(),
					f.Name))
				return
			}
		}
	}
	near := nearest(name, known)
	r.wrongValue[strings.TrimPrefix(near, "--")] = true // it was not given, but that is not the mistake
	text := fmt.Sprintf("argument %d is no flag that there is", position)
	if speakable(name, near) && (near != "" || !dangling) {
		text = "there is no flag " + name
	}
	if near != "" {
		text += "; did you mean " + near + "?"
	}
	r.add(text)
}

var plain = regexp.MustCompile(`^-{0,2}[a-z]+([-_][a-z]+)*$`)

// speakable tells whether an unknown name may be shown. It may not if more than its misspelling may be in it: a secret
// that is glued to its flag, as in --hubspot-tokenpat-na1-0815.
func speakable(name, near string) bool {
	bare := plainName(name)
	switch {
	case !plain.MatchString(name):
		return false
	case near != "" && (strings.HasSuffix(near, "-"+bare) || levenshtein.ComputeDistance(bare, plainName(near)) <= 3):
		return true
	case near == "" && len(bare) > 16:
		return false
	default:
		return !slices.ContainsFunc(Settings(), func(s Setting) bool {
			return s.Secret && strings.HasPrefix(bare, s.Name()[:5])
		})
	}
}

// nearest is the known name that the given one was meant to be; empty if that cannot be told. Nobody gets nearer to a
// name by accident than by a third of its letters, so a secret is not taken for one.
func nearest(name string, known []string) string {
	name = strings.TrimPrefix(plainName(name), "tasksink-")
	for _, k := range known {
		if len(name) > 3 && strings.HasSuffix(plainName(k), "-"+name) { // --brokers
			return k
		}
	}
	best, least := "", len(name)/3+1
	for _, k := range known {
		if d := levenshtein.ComputeDistance(name, strings.TrimPrefix(plainName(k), "tasksink-")); d < least {
			best, least = k, d
		}
	}
	return best
}

// plainName is the name of a flag, a variable or a key, as if it were a key.
func plainName(name string) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimLeft(name, "-"), "_", "-"))
}
