// Command gen derives from the CUE definitions of package v1 the JSON Schema, the Go types and the reference manual. It
// must not let a constraint get lost on the way: it refuses what is outside the subset that the export keeps, and compares
// what was exported with what was written.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

func main() {
	dir := flag.String("dir", ".", "folder of the definitions, which also takes the schema and the Go types")
	docs := flag.String("docs", "", "file that takes the reference manual")
	flag.Parse()
	if err := run(*dir, *docs); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(dir, docs string) error {
	out, err := generate(dir)
	if err != nil {
		return err
	}
	for path, content := range map[string][]byte{
		filepath.Join(dir, schemaFile): out.schema,
		filepath.Join(dir, typesFile):  out.types,
		docs:                           out.reference,
	} {
		if err := write(path, content); err != nil {
			return err
		}
	}
	return nil
}

// write leaves a file alone that already holds the content, so that nothing is rebuilt for nothing.
func write(path string, content []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, content) {
		return nil
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		return fmt.Errorf("write generated file: %w", err)
	}
	return nil
}

const (
	schemaFile = "schema.json"
	typesFile  = "zz_generated.go"
	rootDef    = "File"
)

type outputs struct{ schema, types, reference []byte }

func generate(dir string) (outputs, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.cue"))
	if err != nil || len(files) == 0 {
		return outputs{}, fmt.Errorf("no definitions in %s", dir)
	}
	slices.Sort(files)
	m, err := readModel(files)
	if err != nil {
		return outputs{}, err
	}
	var out outputs
	if out.schema, err = exportSchema(dir, m); err != nil {
		return outputs{}, err
	}
	if out.types, err = goTypes(m); err != nil {
		return outputs{}, err
	}
	out.reference = reference(m)
	return out, nil
}
