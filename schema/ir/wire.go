package ir

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/suuupra/gateway/schema/bundle"
)

// shardTarget is the size a shard is split at. Small enough that a changed route moves few bytes, large enough that ten
// thousand routes are some dozens of shards.
const shardTarget = 256 << 10

// The documents inside the shards of a bundle.
type (
	gatewayShard struct {
		Gateway Gateway `json:"gateway"`
	}
	upstreamShard struct {
		Upstreams []Upstream `json:"upstreams"`
	}
	routeShard struct {
		Routes []Route `json:"routes"`
	}
)

// Pack turns a program into the shards of a bundle: the same program gives the same bytes, whatever the order in which
// its objects come.
func Pack(p *Program) ([]bundle.Shard, error) {
	gateway, err := bundle.Canonical(gatewayShard{p.Gateway})
	if err != nil {
		return nil, fmt.Errorf("pack gateway: %w", err)
	}
	shards := []bundle.Shard{{Path: "gateway", Kind: bundle.KindGateway, Objects: 1, Data: gateway}}
	upstreams, err := packList(p.Upstreams, bundle.KindUpstreams, func(u *Upstream) string { return u.ID })
	if err != nil {
		return nil, err
	}
	routes, err := packList(p.Routes, bundle.KindRoutes, func(r *Route) string { return r.ID })
	if err != nil {
		return nil, err
	}
	shards = append(append(shards, upstreams...), routes...)
	if len(p.Origins) > 0 {
		places, err := packOrigins(p.Origins)
		if err != nil {
			return nil, err
		}
		shards = append(shards, places...)
	}
	return shards, nil
}

// item is one object, encoded, with the hash of its id that decides its shard.
type item struct {
	id   string
	hash [sha256.Size]byte
	data []byte
}

// packList splits a list by the leading bits of the hash of the ids until every part is small enough, so that an object
// that is added, changed or removed leaves the shards of all others as they are.
func packList[T any](list []T, kind bundle.ShardKind, id func(*T) string) ([]bundle.Shard, error) {
	items := make([]item, len(list))
	for i := range list {
		data, err := bundle.Canonical(&list[i])
		if err != nil {
			return nil, fmt.Errorf("pack %s %q: %w", kind, id(&list[i]), err)
		}
		items[i] = item{id: id(&list[i]), hash: sha256.Sum256([]byte(id(&list[i]))), data: data}
	}
	slices.SortFunc(items, func(a, b item) int { return cmp.Compare(a.id, b.id) })
	return splitList(items, kind, ""), nil
}

// splitList emits one shard, or splits by the next bit of the hash. prefix spells the bits that led here.
func splitList(items []item, kind bundle.ShardKind, prefix string) []bundle.Shard {
	size := len(kind) + len(`{"":[]}`)
	for _, it := range items {
		size += len(it.data) + 1
	}
	if size <= shardTarget || len(items) == 1 || len(prefix) == maxSplit {
		var buf bytes.Buffer
		buf.Grow(size + 32)
		fmt.Fprintf(&buf, `{"%s":[`, kind)
		for i, it := range items {
			if i > 0 {
				buf.WriteByte(',')
			}
			buf.Write(it.data)
		}
		buf.WriteString("]}")
		return []bundle.Shard{{Path: shardPath(kind, prefix), Kind: kind, Objects: len(items), Data: buf.Bytes()}}
	}
	bit := len(prefix)
	var zero, one []item
	for _, it := range items {
		if bitOf(it.hash, bit) == 0 {
			zero = append(zero, it)
		} else {
			one = append(one, it)
		}
	}
	var out []bundle.Shard
	if len(zero) > 0 {
		out = append(out, splitList(zero, kind, prefix+"0")...)
	}
	if len(one) > 0 {
		out = append(out, splitList(one, kind, prefix+"1")...)
	}
	return out
}

// maxSplit is how many bits of the hash are looked at; ids that agree on more share a shard.
const maxSplit = 64

func bitOf(hash [sha256.Size]byte, bit int) byte { return hash[bit/8] >> (7 - bit%8) & 1 }

// shardPath spells the bits that led to a shard.
func shardPath(kind bundle.ShardKind, prefix string) string {
	if prefix == "" {
		return string(kind)
	}
	return string(kind) + "/" + prefix
}

// Unpack turns a verified bundle back into the program it was made from.
func Unpack(b *bundle.Bundle) (*Program, error) {
	p := &Program{Environment: b.Manifest.Environment}
	for _, s := range b.Shards {
		var err error
		switch s.Kind {
		case bundle.KindGateway:
			p.Gateway, err = DecodeGateway(s.Data)
		case bundle.KindUpstreams:
			var list []Upstream
			list, err = DecodeUpstreams(s.Data)
			p.Upstreams = append(p.Upstreams, list...)
		case bundle.KindRoutes:
			var list []Route
			list, err = DecodeRoutes(s.Data)
			p.Routes = append(p.Routes, list...)
		case bundle.KindProvenance:
			if p.Origins == nil {
				p.Origins = Origins{}
			}
			err = decodeOrigins(s.Data, p.Origins)
		default:
			err = fmt.Errorf("kind %q is unknown", s.Kind)
		}
		if err != nil {
			return nil, fmt.Errorf("unpack shard %s: %w", s.Path, err)
		}
	}
	slices.SortFunc(p.Routes, func(a, b Route) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(p.Upstreams, func(a, b Upstream) int { return cmp.Compare(a.ID, b.ID) })
	return p, nil
}

// DecodeGateway decodes a shard of kind gateway.
func DecodeGateway(data []byte) (Gateway, error) {
	var doc gatewayShard
	err := DecodeStrict(data, &doc)
	return doc.Gateway, err
}

// DecodeUpstreams decodes a shard of kind upstreams.
func DecodeUpstreams(data []byte) ([]Upstream, error) {
	var doc upstreamShard
	err := DecodeStrict(data, &doc)
	return doc.Upstreams, err
}

// DecodeRoutes decodes a shard of kind routes.
func DecodeRoutes(data []byte) ([]Route, error) {
	var doc routeShard
	err := DecodeStrict(data, &doc)
	return doc.Routes, err
}

// DecodeStrict decodes one JSON value of a compiled form and refuses what this version does not know: a runtime must
// understand every byte it is to enforce.
func DecodeStrict(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("trailing data")
	}
	return nil
}
