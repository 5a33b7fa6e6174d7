package main

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/CycloneDX/cyclonedx-gomod/pkg/generate/bin"
	"github.com/rs/zerolog"
)

// documents travel with a program: file names and contents.
type documents struct {
	licence, thirdParty []byte
	sbom                []byte // CycloneDX, of one architecture's program
}

const (
	licenceName    = "LICENSE"
	thirdPartyName = "THIRD_PARTY_LICENSES.txt"
	sbomName       = "tasksink.cdx.json"
)

// document makes a program's documents; modules are those that are linked in.
func document(root string, p program, modules []module) (documents, error) {
	var d documents
	var err error
	if d.licence, err = os.ReadFile(filepath.Join(root, licenceName)); err != nil {
		return d, err
	}
	if d.thirdParty, err = thirdParty(modules); err != nil {
		return d, err
	}
	d.sbom, err = sbom(p, modules)
	return d, err
}

// sbom is the bill of materials of a program, as read from the program itself, with the licences beside it. The same
// program has the same bill: its time is the commit's, and its serial number follows from the program.
func sbom(p program, modules []module) ([]byte, error) {
	generator, err := bin.NewGenerator(p.path, bin.WithIncludeStdlib(true), bin.WithLogger(zerolog.Nop()),
		bin.WithVersionOverride(p.version))
	if err != nil {
		return nil, err
	}
	bom, err := generator.Generate()
	if err != nil {
		return nil, fmt.Errorf("list what is in %s: %w", p.path, err)
	}
	content, err := os.ReadFile(p.path)
	if err != nil {
		return nil, err
	}
	bom.SerialNumber = serialNumber(content)
	bom.Metadata.Timestamp = p.time.Format(time.RFC3339)
	bom.Metadata.Component.Licenses = &cdx.Licenses{{Expression: "Apache-2.0"}}
	licences := map[string]string{}
	for _, m := range modules {
		licences[m.Path] = m.licences
	}
	for i := range *bom.Components {
		c := &(*bom.Components)[i]
		if licences[c.Name] == "" {
			return nil, fmt.Errorf("no licence was found for %s, which is in the program", c.Name)
		}
		c.Licenses = &cdx.Licenses{{Expression: licences[c.Name]}}
	}
	var b bytes.Buffer
	if err := cdx.NewBOMEncoder(&b, cdx.BOMFileFormatJSON).SetPretty(true).Encode(bom); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// serialNumber is a UUID, which CycloneDX asks for, that names these bytes (version 5 of RFC 9562; no secret hangs on
// it).
func serialNumber(content []byte) string {
	sum := sha1.Sum(content)
	id := sum[:16]
	id[6] = id[6]&0x0f | 0x50
	id[8] = id[8]&0x3f | 0x80
	h := hex.EncodeToString(id)
	return "urn:uuid:" + h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// writeDocuments is for a Dockerfile, which builds its program itself.
func writeDocuments(ctx context.Context, root, path, out string) error {
	p, err := inspect(path)
	if err != nil {
		return err
	}
	modules, err := linked(ctx, root)
	if err != nil {
		return err
	}
	d, err := document(root, p, modules)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for name, content := range map[string][]byte{licenceName: d.licence, thirdPartyName: d.thirdParty, sbomName: d.sbom} {
		if err := os.WriteFile(filepath.Join(out, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
