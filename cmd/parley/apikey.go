package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"parley/auth"
)

func newAPIKeyCommand() *cobra.Command {
	var allow []string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "apikey NAME",
		Short: "Make an API key for a service",
		Long: `Make an API key for a service. The key stands on stdout, and nowhere else: it is not kept. What
the configuration has to say of it, with its hash, stands on stderr. It is presented where a token is.`,
		Example: `  parley apikey billing --allow 'join,history,send=orders.**'
  parley apikey billing --allow 'send=orders' > billing.key`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(allow) == 0 {
				return usagef("--allow: what the service may do, as in --allow 'join,send=orders.**'")
			}
			grants, err := readAllow(allow)
			if err != nil {
				return err
			}
			key, hash, err := auth.NewAPIKey(args[0])
			if err != nil {
				return usagef("%s", sentence(err))
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{
					"key": key, "name": args[0], "hash": hash, "grants": grants,
				})
			}
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), key); err != nil {
				return err
			}
			tell(cmd.ErrOrStderr(), "parley: for auth.api_keys in parley.yml:\n- {name: %s, hash: %q, grants: [%s]}\n", args[0], hash, grantsYAML(grants))
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&allow, "allow", nil, "`GRANT`: RIGHT,...=ROOMS, with * for one part of a room's name and ** for the rest (repeatable)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object, with the hash")
	return cmd
}

// grantsYAML writes grants on one line.
func grantsYAML(grants auth.Grants) string {
	var all []string
	for _, g := range grants {
		all = append(all, fmt.Sprintf("{rooms: %q, may: [%s]}", g.Rooms, strings.Join(g.May.Names(), ", ")))
	}
	return strings.Join(all, ", ")
}
