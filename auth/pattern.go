package auth

import (
	"go.yaml.in/yaml/v3"

	"parley"
)

// Pattern is a parley.Pattern as it stands in a configuration.
type Pattern struct{ parley.Pattern }

// ParsePattern is parley.ParsePattern.
func ParsePattern(s string) (Pattern, error) {
	p, err := parley.ParsePattern(s)
	return Pattern{p}, err
}

// UnmarshalYAML is ParsePattern. Errors say their line.
func (p *Pattern) UnmarshalYAML(node *yaml.Node) error {
	var text string
	if err := node.Decode(&text); err != nil {
		return err
	}
	if err := p.UnmarshalText([]byte(text)); err != nil {
		return atLine(node, err)
	}
	return nil
}
