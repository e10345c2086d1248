package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"parley/server"
)

// newConfigCommand makes parley config.
func newConfigCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check, show or begin a configuration",
		Example: `  parley config init
  parley config check
  parley config print`,
		Args: cobra.NoArgs,
	}
	cmd.AddCommand(newConfigCheckCommand(), newConfigPrintCommand(), newConfigInitCommand())
	return cmd
}

func newConfigCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check [FILE]",
		Short: "Say what is wrong with a configuration",
		Long: `Say what is wrong with a configuration: that of a file (parley.yml, if it is there) with the
environment over it, as parley serve would see it. All that is wrong is said at once, each with its
line, and ends it with 2; what is allowed but most likely not meant is a warning.`,
		Example: `  parley config check
  parley config check /etc/parley.yml`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := configFile(firstOf(args))
			config, err := server.Sources{File: file, Environment: os.LookupEnv}.Read()
			if config != nil {
				for _, w := range config.Warnings() {
					tell(cmd.ErrOrStderr(), "warning: %s\n", oneLine(w))
				}
			}
			if err != nil {
				return err
			}
			if file == "" {
				file = "no file, and the environment"
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: good\n", oneLine(file))
			return err
		},
	}
}

func firstOf(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

func newConfigPrintCommand() *cobra.Command {
	var asJSON, defaults bool
	cmd := &cobra.Command{
		Use:   "print [FILE]",
		Short: "Show the configuration in force, and where each value comes from",
		Long: `Show the configuration that parley serve would have with the same flags, in the same place: every
value, and where it comes from: a default, a line of a file, the environment, a flag. Secrets are not
shown. What is wrong with it is said too, and ends it with 2.`,
		Example: `  parley config print
  parley config print /etc/parley.yml
  parley config print --json | jq '."retain.age"'
  parley config print --defaults`,
		Args: cobra.MaximumNArgs(1),
	}
	given := addSettings(cmd.Flags())
	cmd.Flags().VisitAll(markHidden)
	cmd.Flags().BoolVar(&asJSON, "json", false, "as an object: each key with its value and where that is from")
	cmd.Flags().BoolVar(&defaults, "defaults", false, "what holds where nothing is set")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			given.file = args[0]
		}
		sources := given.sources()
		if defaults {
			sources = server.Sources{}
		}
		config, failed := sources.Read()
		text, err := config.YAML(defaults)
		if asJSON {
			text, err = json.MarshalIndent(config.Values(), "", "  ")
			text = append(text, '\n')
		}
		if err == nil {
			_, err = cmd.OutOrStdout().Write(text)
		}
		return errors.Join(failed, err)
	}
	return cmd
}

func newConfigInitCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init [FILE]",
		Short: "Write a configuration file with every setting, its default and what it is for",
		Long: `Write a configuration file (parley.yml) with every setting, its default and what it is for. What
is there is never overwritten. With - it goes to stdout.`,
		Example: `  parley config init
  parley config init /etc/parley.yml`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := defaultConfig
			if len(args) > 0 {
				file = args[0]
			}
			if file == "-" {
				_, err := fmt.Fprint(cmd.OutOrStdout(), server.Example)
				return err
			}
			if err := writeNew(file, server.Example, 0o644); err != nil {
				return err
			}
			tell(cmd.ErrOrStderr(), "%s is written; parley config check says whether it is right\n", oneLine(file))
			return nil
		},
	}
}

// writeNew writes a file that is not there yet; one that could not be written whole is removed.
func writeNew(file, text string, mode os.FileMode) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	switch {
	case errors.Is(err, fs.ErrExist):
		return usagef("%s is there already, and is not overwritten", file)
	case err != nil:
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(file)
	}
	return err
}
