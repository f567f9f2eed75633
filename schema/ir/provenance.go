package ir

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/diag"
)

// provenanceShard holds the places of some objects. An object's text is a list of "field:line:col", separated by ";", with
// "file!" in front of an entry whose file is not that of the entry before. file and field are indexes into the two tables,
// which list only what the shard uses; the field "" is the object itself.
type provenanceShard struct {
	Fields  []string          `json:"fields"`
	Files   []string          `json:"files"`
	Objects map[string]string `json:"objects"`
}

// placed is one object with the places of its fields.
type placed struct {
	id     string // "routes/users-api"
	hash   [sha256.Size]byte
	fields []string // sorted; "" is the object itself
	at     []diag.Pos
}

// entrySize is about what one place takes in a shard, in bytes; it decides where shards split.
const entrySize = 12

// splitAddress takes an address apart: "routes/users-api/matcher.path" is the field "matcher.path" of "routes/users-api".
func splitAddress(address string) (object, field string) {
	parts := strings.SplitN(address, "/", 3)
	if parts[0] == "gateway" {
		return "gateway", strings.TrimPrefix(strings.TrimPrefix(address, "gateway"), "/")
	}
	if len(parts) < 3 {
		return address, ""
	}
	return parts[0] + "/" + parts[1], parts[2]
}

func packOrigins(origins Origins) ([]bundle.Shard, error) {
	byID := map[string]*placed{}
	for _, address := range slices.Sorted(maps.Keys(origins)) {
		object, field := splitAddress(address)
		p := byID[object]
		if p == nil {
			p = &placed{id: object, hash: sha256.Sum256([]byte(object))}
			byID[object] = p
		}
		p.fields = append(p.fields, field)
		p.at = append(p.at, origins[address])
	}
	objects := make([]*placed, 0, len(byID))
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		objects = append(objects, byID[id])
	}
	return splitPlaced(objects, "")
}

// splitPlaced follows splitList, with an estimate of the size.
func splitPlaced(objects []*placed, prefix string) ([]bundle.Shard, error) {
	size := 0
	for _, o := range objects {
		size += len(o.id) + entrySize*len(o.at)
	}
	if size <= shardTarget || len(objects) == 1 || len(prefix) == maxSplit {
		s, err := encodePlaced(objects, shardPath(bundle.KindProvenance, prefix))
		return []bundle.Shard{s}, err
	}
	bit := len(prefix)
	var halves [2][]*placed
	for _, o := range objects {
		b := bitOf(o.hash, bit)
		halves[b] = append(halves[b], o)
	}
	var out []bundle.Shard
	for b, half := range halves {
		if len(half) == 0 {
			continue
		}
		shards, err := splitPlaced(half, prefix+strconv.Itoa(b))
		if err != nil {
			return nil, err
		}
		out = append(out, shards...)
	}
	return out, nil
}

func encodePlaced(objects []*placed, path string) (bundle.Shard, error) {
	files, fields := map[string]int{}, map[string]int{}
	for _, o := range objects {
		for i := range o.at {
			files[o.at[i].File], fields[o.fields[i]] = 0, 0
		}
	}
	doc := provenanceShard{Fields: index(fields), Files: index(files), Objects: make(map[string]string, len(objects))}
	for _, o := range objects {
		var text []byte
		last := ""
		for i, pos := range o.at {
			if i > 0 {
				text = append(text, ';')
			}
			if i == 0 || pos.File != last {
				text = append(strconv.AppendInt(text, int64(files[pos.File]), 10), '!')
				last = pos.File
			}
			text = append(strconv.AppendInt(text, int64(fields[o.fields[i]]), 10), ':')
			text = append(strconv.AppendInt(text, int64(pos.Line), 10), ':')
			text = strconv.AppendInt(text, int64(pos.Col), 10)
		}
		doc.Objects[o.id] = string(text)
	}
	data, err := bundle.Canonical(doc)
	if err != nil {
		return bundle.Shard{}, fmt.Errorf("pack provenance: %w", err)
	}
	return bundle.Shard{Path: path, Kind: bundle.KindProvenance, Objects: len(objects), Data: data}, nil
}

// index numbers the keys in their order.
func index(set map[string]int) []string {
	list := slices.Sorted(maps.Keys(set))
	for i, s := range list {
		set[s] = i
	}
	return list
}

var errPlace = errors.New("a place is malformed")

// decodeOrigins adds the places of a shard to out.
func decodeOrigins(data []byte, out Origins) error {
	var doc provenanceShard
	if err := DecodeStrict(data, &doc); err != nil {
		return err
	}
	for object, text := range doc.Objects {
		file := ""
		for entry := range strings.SplitSeq(text, ";") {
			if f, rest, ok := strings.Cut(entry, "!"); ok {
				i, err := strconv.Atoi(f)
				if err != nil || i < 0 || i >= len(doc.Files) {
					return errPlace
				}
				file, entry = doc.Files[i], rest
			}
			field, rest, _ := strings.Cut(entry, ":")
			line, col, _ := strings.Cut(rest, ":")
			i, err1 := strconv.Atoi(field)
			l, err2 := strconv.Atoi(line)
			c, err3 := strconv.Atoi(col)
			if err := errors.Join(err1, err2, err3); err != nil || i < 0 || i >= len(doc.Fields) {
				return errPlace
			}
			address := object
			if doc.Fields[i] != "" {
				address += "/" + doc.Fields[i]
			}
			out[address] = diag.Pos{File: file, Line: l, Col: c}
		}
	}
	return nil
}
