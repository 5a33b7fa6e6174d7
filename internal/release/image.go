package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const repository = "https://github.com/tasksink/tasksink"

// labels are the image's, and the index's annotations.
func labels(p program) map[string]string {
	const key = "org.opencontainers.image."
	l := map[string]string{
		key + "title":         "tasksink",
		key + "description":   "Kafka task events in, HubSpot tasks out: in full batches, none lost",
		key + "source":        repository,
		key + "documentation": repository + "#readme",
		key + "licenses":      "Apache-2.0",
		key + "version":       p.version,
		key + "created":       p.time.Format(time.RFC3339),
	}
	if p.revision != "" {
		l[key+"revision"] = p.revision
	}
	return l
}

// image is that of one program.
func image(p program, d documents) (v1.Image, error) {
	all, err := layers(p, d)
	if err != nil {
		return nil, err
	}
	created := v1.Time{Time: p.time}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err = mutate.ConfigFile(img, &v1.ConfigFile{
		OS: "linux", Architecture: p.arch, Created: created,
		RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{
			User:         fmt.Sprintf("%d:%d", nobody, nobody),
			Entrypoint:   []string{"/tasksink"},
			Cmd:          []string{"run"},
			WorkingDir:   "/",
			ExposedPorts: map[string]struct{}{"8080/tcp": {}},
			Labels:       labels(p),
		},
	})
	if err != nil {
		return nil, err
	}
	for _, l := range all {
		if img, err = mutate.Append(img, mutate.Addendum{Layer: l,
			History: v1.History{Created: created, CreatedBy: "tasksink release: " + l.made}}); err != nil {
			return nil, err
		}
	}
	return img, nil
}

// release is what was built of one tree.
type release struct {
	programs  []program
	documents []documents // of each program
	images    []v1.Image  // of each program
	index     v1.ImageIndex
}

// makeRelease builds everything, with dir for the programs.
func makeRelease(ctx context.Context, root, dir string) (release, error) {
	var r release
	modules, err := linked(ctx, root)
	if err != nil {
		return r, err
	}
	r.index = mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range architectures {
		p, err := build(ctx, root, arch, dir)
		if err != nil {
			return r, err
		}
		d, err := document(root, p, modules)
		if err != nil {
			return r, err
		}
		img, err := image(p, d)
		if err != nil {
			return r, err
		}
		r.programs, r.documents, r.images = append(r.programs, p), append(r.documents, d), append(r.images, img)
		r.index = mutate.AppendManifests(r.index, mutate.IndexAddendum{Add: img,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	annotated, ok := mutate.Annotations(r.index, labels(r.programs[0])).(v1.ImageIndex)
	if !ok {
		return r, errors.New("annotate the image index: it is none any more")
	}
	r.index = annotated
	return r, nil
}

// push makes the image anew and pushes it. As it is reproducible it has the digest that was made, and looked at,
// before.
func push(ctx context.Context, root, reference string, stdout io.Writer) error {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "tasksink-release-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // it is temporary either way
	r, err := makeRelease(ctx, root, dir)
	if err != nil {
		return err
	}
	digest, err := r.index.Digest()
	if err != nil {
		return err
	}
	if err := remote.WriteIndex(ref, r.index, remote.WithContext(ctx),
		remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return fmt.Errorf("push the image to %s: %w", ref, err)
	}
	_, err = fmt.Fprintln(stdout, ref.Context().Digest(digest.String()))
	return err
}
