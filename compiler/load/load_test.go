package load

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/compiler/yamlpos"
	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
)

// write puts files into dir; a content that begins with "->" makes a link.
func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for p, content := range files {
		full := filepath.Join(dir, filepath.FromSlash(p))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		_ = os.Remove(full)
		var err error
		if target, ok := strings.CutPrefix(content, "->"); ok {
			err = os.Symlink(target, full)
		} else {
			err = os.WriteFile(full, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// runGit runs git in dir, away from the settings of the machine.
func runGit(t testing.TB, dir string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("git")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("git is missing")
		}
		t.Skip("git is missing")
	}
	cmd := exec.CommandContext(t.Context(), path, append([]string{"-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "core.protectNTFS=false", "-c", "core.protectHFS=false"}, args...)...)
	cmd.Dir = dir
	cmd.Env = []string{
		"GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "HOME=" + dir, "PATH=" + os.Getenv("PATH"),
		"GIT_AUTHOR_NAME=T", "GIT_AUTHOR_EMAIL=t@example.com", "GIT_COMMITTER_NAME=T", "GIT_COMMITTER_EMAIL=t@example.com",
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// repo makes a git repository with one commit.
func repo(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	runGit(t, dir, "init", "--quiet", "--initial-branch=main")
	write(t, dir, files)
	commit(t, dir, "first")
	return dir
}

func commit(t testing.TB, dir, message string) string {
	t.Helper()
	runGit(t, dir, "add", "--all")
	runGit(t, dir, "commit", "--quiet", "--allow-empty", "-m", message)
	return runGit(t, dir, "rev-parse", "HEAD")
}

func codes(l diag.List) string {
	var out []string
	for _, d := range l.Sorted() {
		out = append(out, fmt.Sprintf("%s %s", d.Pos, d.Code))
	}
	return strings.Join(out, "\n")
}

func paths(files []RawFile) string {
	var out []string
	for _, f := range files {
		out = append(out, f.Path)
	}
	return strings.Join(out, " ")
}

func TestDir(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"gateway.yaml": "g", "routes/a/b.yaml": "1", "routes/a.json": "2", "routes/x.cue": "3", "upstreams/u.yml": "4", "policies/p.yaml": "5",
		"tenants/acme/tenant.yaml": "6", "environments/prod/x.yaml": "7", "environments/prod/tenants/beta/x.yaml": "8", "environments/dev/.gitkeep": "",
		"tests/t.yaml": "9", "tests/body.txt": "hello", "README.md": "r", "LICENSE": "l", ".github/x.yaml": "w", "docs/guide.yaml": "d", ".hidden.yaml": "h",
		"trust.json": "{}", "gwrun.yaml": "x", "routes/.gitkeep": "", "routes/.DS_Store": "x", "routes/.a.yaml.swp": "x",
		".gwignore": "# comment\nroutes/old/\n*.bak\n!keep.bak\n", "routes/old/broken.txt": "x", "routes/a.yaml.bak": "x", "scripts/run.sh": "x",
	})
	tree, err := Dir(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if tree.Diags.Len() > 0 {
		t.Error(codes(tree.Diags))
	}
	want := "environments/prod/tenants/beta/x.yaml environments/prod/x.yaml gateway.yaml policies/p.yaml routes/a.json routes/a/b.yaml routes/x.cue tenants/acme/tenant.yaml upstreams/u.yml"
	if got := paths(tree.Files); got != want {
		t.Errorf("files\n%s\nwant\n%s", got, want)
	}
	if got := paths(tree.Tests); got != "tests/body.txt tests/t.yaml" {
		t.Errorf("tests %s", got)
	}
	if got := fmt.Sprint(tree.Environments, tree.Tenants); got != "[prod] [acme beta]" {
		t.Errorf("layers %s", got)
	}
	if got := tree.File("environments/prod/tenants/beta/x.yaml").Layer; got != (schema.Layer{Tenant: "beta", Environment: "prod"}) {
		t.Errorf("layer %+v", got)
	}
	if !slices.Equal(tree.Origin.Changed, nil) || tree.Origin.Commit != "" || tree.Origin.Dirty {
		t.Errorf("origin %+v", tree.Origin)
	}
}

// TestRules holds directories and git trees to the same rules: each case is read both ways.
func TestRules(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  string
		hint  string // of the first diagnostic
	}{
		{"no files", map[string]string{"README.md": "x"}, ". GW1001", "gateway.yaml"},
		{"only tests", map[string]string{"tests/a.yaml": "x"}, ". GW1001", ""},
		{"stray file", map[string]string{"routes/notes.txt": "x"}, "routes/notes.txt GW1002", ".gwignore"},
		{"stray file without ending", map[string]string{"policies/p": "x"}, "policies/p GW1002", ".gwignore"},
		{"upper-case ending", map[string]string{"routes/a.YAML": "x"}, "routes/a.YAML GW1002", `"a.yaml"`},
		{"backup", map[string]string{"routes/a.yaml.orig": "x"}, "routes/a.yaml.orig GW1002", ".gwignore"},
		{"config at the root", map[string]string{"users.yaml": "x"}, "users.yaml GW1003", "routes/"},
		{"routes.yaml at the root", map[string]string{"routes.yaml": "x"}, "routes.yaml GW1003", "move it to routes/routes.yaml"},
		{"misspelt gateway.yaml", map[string]string{"gatway.yaml": "x"}, "gatway.yaml GW1003", `did you mean "gateway.yaml"`},
		{"Gateway.YAML", map[string]string{"Gateway.YAML": "x"}, "Gateway.YAML GW1003", `did you mean "gateway.yaml"`},
		{"misspelt folder", map[string]string{"route/a/b.yaml": "x"}, "route/a/b.yaml GW1004", `did you mean "routes/"`},
		{"upper-case folder", map[string]string{"Routes/b.yaml": "x"}, "Routes/b.yaml GW1004", `did you mean "routes/"`},
		{"upstream", map[string]string{"upstream/b.json": "x"}, "upstream/b.json GW1004", `did you mean "upstreams/"`},
		{"envs", map[string]string{"envs/prod/b.yaml": "x"}, "envs/prod/b.yaml GW1004", `did you mean "environments/"`},
		{"policy", map[string]string{"policy/b.yaml": "x"}, "policy/b.yaml GW1004", `did you mean "policies/"`},
		{"misspelt folder without config", map[string]string{"route/b.txt": "x", "gateway.yaml": "x"}, "", ""},
		{"too large", map[string]string{"routes/a.yaml": strings.Repeat("#", yamlpos.MaxBytes+1)}, "routes/a.yaml GW1005", "split"},
		{"link out", map[string]string{"routes/a.yaml": "->../../etc/passwd"}, "routes/a.yaml GW1007", "copy"},
		{"absolute link", map[string]string{"routes/a.yaml": "->/etc/passwd"}, "routes/a.yaml GW1007", "copy"},
		{"link to .git", map[string]string{"routes/a.yaml": "->../.git/config"}, "routes/a.yaml GW1007", "copy"},
		{"link out and back", map[string]string{"routes/a.yaml": "->../../x/routes/b.yaml"}, "routes/a.yaml GW1007", "copy"},
		{"link to a folder", map[string]string{"routes/a": "->../policies", "policies/p.yaml": "x"}, "routes/a GW1008", ""},
		{"folder is a link", map[string]string{"routes": "->other", "other/p.yaml": "x"}, "routes GW1008", ""},
		{"dangling link", map[string]string{"routes/a.yaml": "->b.yaml"}, "routes/a.yaml GW1008", ""},
		{"link in a circle", map[string]string{"routes/a.yaml": "->b.yaml", "routes/b.yaml": "->a.yaml"}, "routes/a.yaml GW1008\nroutes/b.yaml GW1008", ""},
		{"link through a link", map[string]string{"routes/a.yaml": "->../shared/x.yaml", "shared": "->real", "real/x.yaml": "x"}, "routes/a.yaml GW1008", ""},
		{"hidden file", map[string]string{"routes/.a.yaml": "x"}, "routes/.a.yaml GW1009", ""},
		{"invisible character", map[string]string{"routes/a\u200b.yaml": "x"}, "routes/a\u200b.yaml GW1009", ""},
		{"bidi in a name", map[string]string{"routes/a\u202elmay.yaml": "x"}, "routes/a\u202elmay.yaml GW1009", ""},
		{"newline in a name", map[string]string{"routes/a\nb.yaml": "x"}, "routes/a\nb.yaml GW1009", ""},
		{"backslash in a name", map[string]string{`routes/..\b.yaml`: "x"}, `routes/..\b.yaml GW1009`, ""},
		{"not UTF-8", map[string]string{"routes/\xff.yaml": "x"}, "routes/\uFFFD.yaml GW1009", ""},
		{"short .git", map[string]string{"routes/git~1/a.yaml": "x"}, "routes/git~1 GW1009", ""},
		{".git with a joiner", map[string]string{"routes/.g\u200cit/a.yaml": "x"}, "routes/.g\u200cit GW1009", ""},
		{"case twins", map[string]string{"routes/A.yaml": "x", "routes/a.yaml": "x"}, "routes/a.yaml GW1010", "rename"},
		{"case twin folders", map[string]string{"routes/A/x.yaml": "x", "routes/a/y.yaml": "x"}, "routes/a GW1010", "rename"},
		{"two forms of é", map[string]string{"routes/e\u0301.yaml": "x", "routes/\u00e9.yaml": "x"}, "routes/\u00e9.yaml GW1010", "rename"},
		{"environment name", map[string]string{"environments/Prod/a.yaml": "x"}, "environments/Prod/a.yaml GW1011", ""},
		{"tenant name", map[string]string{"tenants/a b/a.yaml": "x"}, "tenants/a b/a.yaml GW1011", ""},
		{"two gateway files", map[string]string{"gateway.yaml": "x", "gateway.cue": "x"}, "gateway.yaml GW1012", "keep one"},
		{"file in environments/", map[string]string{"environments/a.yaml": "x"}, "environments/a.yaml GW1003", "environments/<environment>/"},
		{"file in tenants/", map[string]string{"tenants/a.yaml": "x"}, "tenants/a.yaml GW1003", "tenants/<tenant>/"},
		{"file in environments/x/tenants/", map[string]string{"environments/x/tenants/a.yaml": "x"}, "environments/x/tenants/a.yaml GW1003", ""},
		{"environment of a tenant", map[string]string{"tenants/t/environments/prod/a.yaml": "x"}, "tenants/t/environments/prod/a.yaml GW1003", "environments/prod/tenants/t/"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := repo(t, tt.files)
			onDisk, err := Dir(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			inGit, err := Git(t.Context(), dir, "HEAD")
			if err != nil {
				t.Fatal(err)
			}
			for where, tree := range map[string]*Tree{"disk": onDisk, "git": inGit} {
				if got := codes(tree.Diags); got != tt.want {
					t.Errorf("%s: got %q, want %q", where, got, tt.want)
				} else if ds := tree.Diags.Sorted(); len(ds) > 0 && !strings.Contains(ds[0].Hint, tt.hint) {
					t.Errorf("%s: hint %q, want %q", where, ds[0].Hint, tt.hint)
				}
			}
			if onDisk.Diags.Len() == 0 && onDisk.Origin.Dirty {
				t.Errorf("dirty: %v", onDisk.Origin.Changed)
			}
		})
	}
}

func TestLinkInside(t *testing.T) {
	dir := repo(t, map[string]string{"routes/a.yaml": "->../shared/x.yaml", "shared/x.yaml": "one", "routes/b.yaml": "->a.yaml"})
	for _, read := range []func() (*Tree, error){
		func() (*Tree, error) { return Dir(t.Context(), dir) },
		func() (*Tree, error) { return Git(t.Context(), dir, "main") },
	} {
		tree, err := read()
		if err != nil || tree.Diags.Len() > 0 {
			t.Fatal(err, codes(tree.Diags))
		}
		if paths(tree.Files) != "routes/a.yaml routes/b.yaml" || string(tree.Files[1].Data) != "one" || tree.Origin.Dirty {
			t.Errorf("got %s, %+v", paths(tree.Files), tree.Origin)
		}
	}
	write(t, dir, map[string]string{"shared/x.yaml": "two"})
	if tree, err := Dir(t.Context(), dir); err != nil || !tree.Origin.Dirty {
		t.Errorf("a changed target is not dirty: %v", err)
	}
}

func TestSpecialFilesAndSubmodules(t *testing.T) {
	dir := repo(t, map[string]string{"gateway.yaml": "x"})
	sub := repo(t, map[string]string{"a.yaml": "x"})
	runGit(t, dir, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", sub, "routes/sub")
	commit(t, dir, "sub")
	tree, err := Git(t.Context(), dir, "HEAD")
	if err != nil || codes(tree.Diags) != "routes/sub GW1013" {
		t.Errorf("git: %v %s", err, codes(tree.Diags))
	}
	tree, err = Dir(t.Context(), dir)
	if err != nil || codes(tree.Diags) != "routes/sub/.git GW1009" {
		t.Errorf("disk: %v %s", err, codes(tree.Diags))
	}
}

func TestFolderLimits(t *testing.T) {
	dir := t.TempDir()
	deep := "routes" + strings.Repeat("/d", maxDirs+1)
	write(t, dir, map[string]string{deep + "/a.yaml": "x"})
	tree, err := Dir(t.Context(), dir)
	if err != nil || !strings.HasSuffix(codes(tree.Diags), " GW1006") {
		t.Errorf("%v %s", err, codes(tree.Diags))
	}
}

func TestNotADirectory(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"f": "x"})
	for _, p := range []string{filepath.Join(dir, "f"), filepath.Join(dir, "missing")} {
		if _, err := Dir(t.Context(), p); err == nil || !strings.HasPrefix(err.Error(), "read config") {
			t.Errorf("%s: %v", p, err)
		}
	}
}

func TestGitTwins(t *testing.T) {
	for name, want := range map[string]bool{".git": true, ".GIT": true, ".Git ": true, ".git.": true, "GIT~1": true, ".gitkeep": false, "git": false} {
		if gitTwin(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}
