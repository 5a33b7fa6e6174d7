package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"debug/elf"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-containerregistry/pkg/crane"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

const root = "../.."

// commit is that of clone: the same author, time and tree make the same commit wherever it is made.
const (
	tag        = "v1.98.7"
	commitTime = "2026-03-04T05:06:07Z"
)

// clone copies the work tree to a repository of its own, with one commit and a tag.
func clone(t *testing.T, dir string) {
	t.Helper()
	if err := os.CopyFS(dir, os.DirFS(root)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, ".git")); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"init -q", "add -A", "commit -q -m release", "tag " + tag} {
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir}, strings.Fields(args)...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_AUTHOR_NAME=a",
			"GIT_AUTHOR_EMAIL=a@example.com",
			"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com", "GIT_AUTHOR_DATE="+commitTime, "GIT_COMMITTER_DATE="+commitTime)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v\n%s", args, err, out)
		}
	}
}

// TestRelease makes a release of the work tree twice, in different places, and opens what came out.
func TestRelease(t *testing.T) {
	one, other := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "elsewhere", "and", "deeper")
	out := filepath.Join(t.TempDir(), "dist")
	clone(t, one)
	clone(t, other)
	if err := run(t.Context(), []string{"image", "--root", one, "--out", out}, t.Output()); err != nil {
		t.Fatal(err)
	}

	t.Run("reproducible", func(t *testing.T) {
		again := filepath.Join(t.TempDir(), "dist")
		if err := run(t.Context(), []string{"image", "--root", other, "--out", again}, t.Output()); err != nil {
			t.Fatal(err)
		}
		files := names(t, os.DirFS(out))
		if want := strings.Fields("LICENSE SHA256SUMS THIRD_PARTY_LICENSES.txt image-digest.txt tasksink-image-oci.tar " +
			"tasksink-image.tar " +
			"tasksink-linux-amd64 tasksink-linux-amd64.cdx.json tasksink-linux-arm64 tasksink-linux-arm64.cdx.json"); !slices.Equal(files, want) {
			t.Errorf("a release has\n%q, not\n%q", files, want)
		}
		for _, name := range files {
			if !bytes.Equal(read(t, out, name), read(t, again, name)) {
				t.Errorf("%s differs when it is made elsewhere", name)
			}
		}
	})

	t.Run("sums", func(t *testing.T) {
		var want strings.Builder
		for _, name := range names(t, os.DirFS(out)) {
			if name != "SHA256SUMS" && name != loadable {
				fmt.Fprintf(&want, "%x  %s\n", sha256.Sum256(read(t, out, name)), name)
			}
		}
		if got := string(read(t, out, "SHA256SUMS")); got != want.String() {
			t.Errorf("SHA256SUMS is\n%s and should be\n%s", got, want.String())
		}
	})

	t.Run("loadable", func(t *testing.T) {
		img, err := tarball.ImageFromPath(filepath.Join(out, loadable), nil)
		if err != nil {
			t.Fatal(err)
		}
		checkImage(t, img, runtime.GOARCH)
		manifest, err := tarball.LoadManifest(func() (io.ReadCloser, error) { return os.Open(filepath.Join(out, loadable)) })
		if err != nil {
			t.Fatal(err)
		}
		if got := manifest[0].RepoTags; !slices.Equal(got, []string{"tasksink:" + tag}) {
			t.Errorf("it is loaded as %q", got)
		}
		if size := len(read(t, out, loadable)); size > 30<<20 {
			t.Errorf("the image has %d bytes, more than 30 MiB", size)
		}
	})

	t.Run("everywhere", func(t *testing.T) {
		dir := t.TempDir()
		for name, content := range untar(t, bytes.NewReader(read(t, out, everywhere))) {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, content.content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		index, err := layout.ImageIndexFromPath(dir)
		if err != nil {
			t.Fatal(err)
		}
		digest, err := index.Digest()
		if err != nil {
			t.Fatal(err)
		}
		if got := string(read(t, out, "image-digest.txt")); got != digest.String()+"\n" {
			t.Errorf("image-digest.txt says %s, the archive holds %s", got, digest)
		}
		manifest, err := index.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		if got := manifest.Annotations["org.opencontainers.image.version"]; got != tag {
			t.Errorf("the index is annotated as version %q", got)
		}
		var platforms []string
		for _, m := range manifest.Manifests {
			platforms = append(platforms, m.Platform.String())
			img, err := index.Image(m.Digest)
			if err != nil {
				t.Fatal(err)
			}
			checkImage(t, img, m.Platform.Architecture)
		}
		if !slices.Equal(platforms, []string{"linux/amd64", "linux/arm64"}) {
			t.Errorf("it is for %q", platforms)
		}
	})

	t.Run("pushed", func(t *testing.T) {
		server := httptest.NewServer(registry.New())
		defer server.Close()
		reference := strings.TrimPrefix(server.URL, "http://") + "/tasksink"
		var said bytes.Buffer
		if err := run(t.Context(), []string{"push", "--root", one, reference + ":" + tag}, &said); err != nil {
			t.Fatal(err)
		}
		want := strings.TrimSpace(string(read(t, out, "image-digest.txt")))
		if got := strings.TrimSpace(said.String()); got != reference+"@"+want {
			t.Errorf("pushed as %s, made as %s", got, want)
		}
		if got, err := crane.Digest(reference + ":" + tag); err != nil || got != want {
			t.Errorf("the registry holds %s (%v), made was %s", got, err, want)
		}
	})
}

// TestDockerfile: with Docker the same image comes out, but for the base below it.
func TestDockerfile(t *testing.T) {
	dockerfile := string(read(t, root, "Dockerfile"))
	want := []string{
		strings.Join(buildFlags, " "), "CGO_ENABLED=0", fmt.Sprintf("\nUSER %d:%d\n", nobody, nobody),
		"\nENTRYPOINT [\"/tasksink\"]\n", "\nCMD [\"run\"]\n", "\nEXPOSE 8080\n", " /usr/share/doc/tasksink/\n",
	}
	for label, value := range labels(program{version: "$VERSION", revision: "$REVISION"}) {
		if strings.HasSuffix(label, "created") {
			value = "$CREATED"
		}
		want = append(want, fmt.Sprintf("%s=%q", label, value))
	}
	for _, w := range want {
		if !strings.Contains(dockerfile, w) {
			t.Errorf("the Dockerfile lacks %q", w)
		}
	}
}

// checkImage opens an image as whoever runs it would find it.
func checkImage(t *testing.T, img v1.Image, arch string) {
	t.Helper()
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c := config.Config
	if config.OS != "linux" || config.Architecture != arch || c.User != "65532:65532" ||
		!slices.Equal(c.Entrypoint, []string{"/tasksink"}) ||
		!slices.Equal(c.Cmd, []string{"run"}) || len(c.Env) > 0 {
		t.Errorf("the image is configured as %+v", config)
	}
	const key = "org.opencontainers.image."
	for label, want := range map[string]string{"title": "tasksink", "version": tag, "created": commitTime,
		"licenses": "Apache-2.0", "source": repository} {
		if got := c.Labels[key+label]; got != want {
			t.Errorf("label %s is %q, not %q", label, got, want)
		}
	}
	if len(c.Labels[key+"revision"]) != 40 {
		t.Errorf("label revision is %q, no commit", c.Labels[key+"revision"])
	}

	content := mutate.Extract(img)
	defer func() { _ = content.Close() }()
	files := untar(t, content)
	var listed []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f := files[name]
		listed = append(listed, fmt.Sprintf("%s %d:%d /%s", f.FileInfo().Mode(), f.Uid, f.Gid, name))
	}
	// All that there is: no shell, no package manager, nothing that nobody (65532) may write but /tmp.
	if want := []string{
		"-rw-r--r-- 0:0 /etc/group",
		"-rw-r--r-- 0:0 /etc/passwd",
		"-rw-r--r-- 0:0 /etc/ssl/certs/ca-certificates.crt",
		"-rwxr-xr-x 0:0 /tasksink",
		"dtrwxrwxrwx 0:0 /tmp",
		"-rw-r--r-- 0:0 /usr/share/doc/tasksink/LICENSE",
		"-rw-r--r-- 0:0 /usr/share/doc/tasksink/THIRD_PARTY_LICENSES.txt",
		"-rw-r--r-- 0:0 /usr/share/doc/tasksink/tasksink.cdx.json",
	}; !slices.Equal(listed, want) {
		t.Errorf("the image holds\n%s\nnot\n%s", strings.Join(listed, "\n"), strings.Join(want, "\n"))
	}
	if passwd := string(files["etc/passwd"].content); !strings.Contains(passwd, "\nnonroot:x:65532:65532:") {
		t.Errorf("65532 has no name:\n%s", passwd)
	}
	checkAuthorities(t, files["etc/ssl/certs/ca-certificates.crt"].content)
	checkSBOM(t, files["usr/share/doc/tasksink/tasksink.cdx.json"].content, files["tasksink"].content)
	checkProgram(t, files["tasksink"].content, arch)
}

// checkAuthorities: all are readable, and the well-known are among them.
func checkAuthorities(t *testing.T, rest []byte) {
	t.Helper()
	var names []string
	for block, rest := pem.Decode(rest); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, cert.Subject.CommonName)
	}
	if len(names) < 100 {
		t.Errorf("the image has only %d authorities", len(names))
	}
	for _, name := range []string{"ISRG Root X1", "GTS Root R1", "DigiCert Global Root G2", "Amazon Root CA 1"} {
		if !slices.Contains(names, name) {
			t.Errorf("%s is no authority in the image", name)
		}
	}
}

// checkProgram: the program is static, for the architecture, and where this machine can, it is run.
func checkProgram(t *testing.T, program []byte, arch string) {
	t.Helper()
	e, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range e.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("the program is not static: it has %s", p.Type)
		}
	}
	if machine := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[arch]; e.Machine != machine {
		t.Errorf("the program for %s is one for %s", arch, e.Machine)
	}
	if e.Section(".symtab") == nil || e.Section(".debug_info") != nil {
		t.Error("the program should have symbols and no DWARF")
	}
	if arch != runtime.GOARCH || runtime.GOOS != "linux" {
		return
	}
	path := filepath.Join(t.TempDir(), "tasksink")
	if err := os.WriteFile(path, program, 0o700); err != nil {
		t.Fatal(err)
	}
	said, err := exec.CommandContext(t.Context(), path, "version", "--json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var version struct {
		Version, Revision string
		Modified          bool
	}
	if err := json.Unmarshal(said, &version); err != nil {
		t.Fatal(err)
	}
	if version.Version != tag || len(version.Revision) != 40 || version.Modified {
		t.Errorf("the program in the image says that it is %s", said)
	}
}

// checkSBOM: it is about this very program, and names what is linked in, with licences.
func checkSBOM(t *testing.T, sbom, program []byte) {
	t.Helper()
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(sbom), cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(sbom, fmt.Appendf(nil, "%x", sha256.Sum256(program))) {
		t.Error("the SBOM is not that of the program beside it")
	}
	if c := bom.Metadata.Component; c.Name != "github.com/tasksink/tasksink" || c.Version != tag ||
		bom.Metadata.Timestamp != commitTime {
		t.Errorf("the SBOM is about %s %s of %s", c.Name, c.Version, bom.Metadata.Timestamp)
	}
	var names []string
	for _, c := range *bom.Components {
		names = append(names, c.Name)
		if c.Licenses == nil || (*c.Licenses)[0].Expression == "" || c.Version == "" || c.PackageURL == "" {
			t.Errorf("of %s the SBOM has too little: %+v", c.Name, c)
		}
	}
	for _, want := range []string{"github.com/segmentio/kafka-go", "github.com/sony/gobreaker/v2", "std"} {
		if !slices.Contains(names, want) {
			t.Errorf("the SBOM does not name %s", want)
		}
	}
	if slices.Contains(names, "github.com/twmb/franz-go") {
		t.Error("the SBOM names franz-go, which only tests use")
	}
}

type entry struct {
	*tar.Header
	content []byte
}

func untar(t *testing.T, r io.Reader) map[string]entry {
	t.Helper()
	files := map[string]entry{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files
		} else if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = entry{h, content}
	}
}

func names(t *testing.T, fsys fs.FS) (all []string) {
	t.Helper()
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
