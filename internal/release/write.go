package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

const (
	loadable   = "tasksink-image.tar"     // for this machine's architecture: docker load, podman load
	everywhere = "tasksink-image-oci.tar" // OCI layout, for all: skopeo, podman, registries
)

// writeRelease makes everything that a release consists of, in out.
func writeRelease(ctx context.Context, root, out string, stdout io.Writer) error {
	dir, err := os.MkdirTemp("", "tasksink-release-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // it is temporary either way
	r, err := makeRelease(ctx, root, dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	files := []file{{licenceName, 0o644, r.documents[0].licence}, {thirdPartyName, 0o644, r.documents[0].thirdParty}}
	for i, p := range r.programs {
		content, err := os.ReadFile(p.path)
		if err != nil {
			return err
		}
		files = append(files, file{"tasksink-linux-" + p.arch, 0o755, content},
			file{"tasksink-linux-" + p.arch + ".cdx.json", 0o644, r.documents[i].sbom})
	}
	digest, err := r.index.Digest()
	if err != nil {
		return err
	}
	oci, err := ociArchive(r, dir)
	if err != nil {
		return err
	}
	files = append(files, file{everywhere, 0o644, oci}, file{"image-digest.txt", 0o644, []byte(digest.String() + "\n")})
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	var sums bytes.Buffer
	for _, f := range files {
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(f.content), f.name)
	}
	docker, err := dockerArchive(r)
	if err != nil {
		return err
	}
	// The last is not summed: it differs with the machine's architecture, and is not released.
	for _, f := range append(files, file{"SHA256SUMS", 0o644, sums.Bytes()}, file{loadable, 0o644, docker}) {
		if err := os.WriteFile(filepath.Join(out, f.name), f.content, fs.FileMode(f.mode)); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(stdout, "%s: tasksink %s, image %s\n", out, r.programs[0].version, digest)
	return err
}

// ociArchive is the image for all architectures, in the form of OCI's image layout.
func ociArchive(r release, dir string) ([]byte, error) {
	dir = filepath.Join(dir, "layout")
	if _, err := layout.Write(dir, r.index); err != nil {
		return nil, fmt.Errorf("lay out the image: %w", err)
	}
	var files []file
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, e fs.DirEntry, err error) error { // in lexical order
		if err != nil || e.IsDir() {
			return err
		}
		content, err := os.ReadFile(filepath.Join(dir, path))
		files = append(files, file{path, 0o644, content})
		return err
	})
	if err != nil {
		return nil, err
	}
	return archive(r.programs[0].time.Truncate(time.Second), files)
}

// dockerArchive is the image for the architecture of this machine, or the first, in the form that all of docker can
// load.
func dockerArchive(r release) ([]byte, error) {
	i := max(slices.Index(architectures, runtime.GOARCH), 0)
	tag, err := name.NewTag("tasksink:" + r.programs[i].tag())
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := tarball.MultiWrite(map[name.Tag]v1.Image{tag: r.images[i]}, &b); err != nil {
		return nil, fmt.Errorf("archive the image: %w", err)
	}
	return b.Bytes(), nil
}
