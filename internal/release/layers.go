package main

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// nobody is who runs tasksink, user and group; the number that distroless images, and the chart, use for it.
const nobody = 65532

// layer is one of the image, with what its history says of it.
type layer struct {
	v1.Layer
	made string
}

// layers are the image's, what changes least first.
func layers(p program, d documents) ([]layer, error) {
	content, err := os.ReadFile(p.path)
	if err != nil {
		return nil, err
	}
	roots, err := authorities()
	if err != nil {
		return nil, err
	}
	user := fmt.Sprintf("root:x:0:0:root:/:/sbin/nologin\nnonroot:x:%d:%d:nonroot:/:/sbin/nologin\n", nobody, nobody)
	group := fmt.Sprintf("root:x:0:\nnonroot:x:%d:\n", nobody)
	const docs = "usr/share/doc/tasksink/"
	var all []layer
	for _, l := range []struct {
		made  string
		files []file
	}{
		{"user, certificate authorities, /tmp", []file{
			{"etc/passwd", 0o644, []byte(user)}, {"etc/group", 0o644, []byte(group)},
			{"etc/ssl/certs/ca-certificates.crt", 0o644, roots}, {"tmp/", 0o1777, nil}}},
		{"licences and SBOM", []file{
			{docs + licenceName, 0o644, d.licence}, {docs + thirdPartyName, 0o644, d.thirdParty},
			{docs + sbomName, 0o644, d.sbom}}},
		{"tasksink", []file{{"tasksink", 0o755, content}}},
	} {
		b, err := archive(p.time, l.files)
		if err != nil {
			return nil, err
		}
		made, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil },
			tarball.WithMediaType(types.OCILayer))
		if err != nil {
			return nil, err
		}
		all = append(all, layer{made, l.made})
	}
	return all, nil
}

// file is one to be archived; a name that ends in / is a directory's.
type file struct {
	name    string
	mode    int64
	content []byte
}

// archive puts files in a tar that depends on nothing but them and the time. All belong to root: who runs tasksink can
// change none. Directories above them need no entry: engines make them, root's and 0755.
func archive(at time.Time, files []file) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode, Size: int64(len(f.content)), ModTime: at,
			Format: tar.FormatPAX}
		if f.name[len(f.name)-1] == '/' {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return b.Bytes(), err
}

// authorities are Mozilla's, as PEM, from a module that go.sum pins: what the building machine trusts does not matter.
// Left out are those that Mozilla trusts with a reservation, which PEM cannot express.
func authorities() ([]byte, error) {
	var b bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		cert, err := x509.ParseCertificate(root.Certificate)
		if err != nil {
			return nil, fmt.Errorf("read a certificate authority: %w", err)
		}
		fmt.Fprintf(&b, "# %s\n", cert.Subject)
		if err := pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}
