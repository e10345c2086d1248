package auth

import (
	"fmt"
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Groups are grants by the names of groups.
type Groups map[string]Grants

// UnmarshalYAML reads groups, strictly.
func (gs *Groups) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: names of groups, each with a list of grants", node.Line)
	}
	all := make(Groups)
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, list := node.Content[i].Value, node.Content[i+1]
		if _, twice := all[name]; twice {
			return fmt.Errorf("line %d: the group %q stands here twice", node.Content[i].Line, clip(name))
		}
		grants, err := readGrants(list)
		if err != nil {
			return fmt.Errorf("line %d: the group %q: %w", list.Line, clip(name), err)
		}
		all[name] = grants
	}
	*gs = all
	return nil
}

// readGrants reads a list of grants. A key that is not known could be one that was meant to narrow a
// grant.
func readGrants(list *yaml.Node) (Grants, error) {
	if list.Kind != yaml.SequenceNode {
		return nil, fmt.Errorf("a list of grants, each with rooms and may")
	}
	grants := Grants{}
	for _, item := range list.Content {
		if item.Kind != yaml.MappingNode {
			return nil, fmt.Errorf("a grant has rooms and may")
		}
		for i := 0; i+1 < len(item.Content); i += 2 {
			if key := item.Content[i].Value; key != "rooms" && key != "may" {
				return nil, fmt.Errorf("a grant has rooms and may, and no %q", clip(key))
			}
		}
		var g Grant
		if err := item.Decode(&g); err != nil {
			return nil, err
		}
		grants = append(grants, g)
	}
	return grants, grants.Check()
}

// MarshalYAML writes groups as one value.
func (gs Groups) MarshalYAML() (any, error) {
	n := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
	for _, name := range slices.Sorted(maps.Keys(gs)) {
		var key, value yaml.Node
		if err := key.Encode(name); err != nil {
			return nil, err
		}
		if err := value.Encode([]Grant(gs[name])); err != nil {
			return nil, err
		}
		n.Content = append(n.Content, &key, &value)
	}
	return n, nil
}
