package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"gopkg.in/yaml.v3"

	"github.com/tasksink/tasksink/cmd/tasksink/config"
	"github.com/tasksink/tasksink/internal/terminal"
)

// inForce is a setting's value and where it comes from.
type inForce struct {
	Setting string `json:"setting"`
	Value   any    `json:"value"` // null: not set
	config.Source
}

type configCommand struct {
	settings
	JSON bool `name:"json" help:"As JSON."`
}

// run shows the settings in force, secrets as ***: as a table to people, as YAML, which --config takes again, to
// whatever else reads it.
func (c *configCommand) run(_ context.Context, s screen) error {
	var all []inForce
	for _, setting := range config.Settings() {
		all = append(all, inForce{setting.Name(), setting.Value(c.Config), s.settings.Source(setting.Name())})
	}
	var err error
	if width, ok := terminal.Width(s.out); c.JSON {
		enc := json.NewEncoder(s.out)
		enc.SetIndent("", "  ")
		err = enc.Encode(all)
	} else if ok {
		_, err = io.WriteString(s.out, configTable(all, width)+"\n")
	} else {
		err = configYAML(s.out, all)
	}
	if err != nil {
		return errReported // nobody is left to show it to
	}
	return nil
}

func configTable(all []inForce, width int) string {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"setting", "value", "from"})
	half := max(20, (width-len("hubspot-oauth-refresh-token-file")-10)/2)
	t.SetColumnConfigs([]table.ColumnConfig{{Number: 2, WidthMax: half}, {Number: 3, WidthMax: half}})
	for _, s := range all {
		value, from := "", s.String()
		switch v := s.Value.(type) {
		case nil:
			from = "not set"
		case []string:
			value = strings.Join(v, ", ")
		default:
			value = fmt.Sprint(v)
		}
		t.AppendRow(table.Row{s.Setting, value, from})
	}
	return t.Render()
}

func configYAML(w io.Writer, all []inForce) error {
	root := &yaml.Node{Kind: yaml.MappingNode}
	for _, s := range all {
		if s.Value == nil {
			continue
		}
		var value yaml.Node
		if err := value.Encode(s.Value); err != nil {
			return fmt.Errorf("write %s: %w", s.Setting, err)
		}
		value.LineComment = s.String()
		if value.Kind == yaml.SequenceNode {
			value.Style = yaml.FlowStyle
		}
		root.Content = append(root.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: s.Setting}, &value)
	}
	return yaml.NewEncoder(w).Encode(root)
}
