package compiler

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/suuupra/gateway/schema"
)

const (
	cacheAge   = 14 * 24 * time.Hour // how long an entry is kept
	cacheEntry = 64 << 20            // bytes of the largest entry that is read
)

// Cache keeps, between runs of the compiler, what depends on bytes alone: decoded files by the digest of their content,
// and what a whole repository had to say by the digest of all of it. An entry that is damaged, or was written by another
// compiler, is as good as none. It may be removed at any time.
type Cache struct {
	dir  string
	salt [sha256.Size]byte
}

// OpenCache uses a directory, which is made if need be. The salt is whatever decides how bytes are read: the version of
// the compiler and of the schema. A directory that others may write to is refused: an entry of theirs would stand for a
// file it was never made from.
func OpenCache(dir string, salt []byte) (*Cache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o022 != 0 { // there, modes do not say who may write
		return nil, fmt.Errorf("open cache: others may write to %s (mode %v)", dir, info.Mode().Perm())
	}
	return &Cache{dir: dir, salt: sha256.Sum256(salt)}, nil
}

// key names an entry. Every part is preceded by its length, so that no two lists of parts have one key.
func (c *Cache) key(parts ...[]byte) string {
	h := sha256.New()
	h.Write(c.salt[:])
	for _, p := range parts {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write(p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (c *Cache) path(key string) string { return filepath.Join(c.dir, key[:2], key[2:]) }

// checksum covers the key too: an entry in the place of another is damaged.
func checksum(key string, data []byte) [sha256.Size]byte {
	h := sha256.New()
	h.Write([]byte(key))
	h.Write(data)
	return [sha256.Size]byte(h.Sum(nil))
}

// read returns an entry whose checksum holds.
func (c *Cache) read(key string) ([]byte, bool) {
	f, err := os.Open(c.path(key))
	if err != nil {
		return nil, false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() < sha256.Size || info.Size() > cacheEntry {
		return nil, false
	}
	raw := make([]byte, info.Size())
	if _, err := io.ReadFull(f, raw); err != nil {
		return nil, false
	}
	sum, data := [sha256.Size]byte(raw[:sha256.Size]), raw[sha256.Size:]
	return data, checksum(key, data) == sum
}

// write stores an entry. A cache that cannot be written is slow, not wrong: errors are dropped on purpose.
func (c *Cache) write(key string, data []byte) {
	path := c.path(key)
	if os.MkdirAll(filepath.Dir(path), 0o700) != nil {
		return
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return
	}
	sum := checksum(key, data)
	_, err = f.Write(append(sum[:], data...))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
}

// Prune removes what was not written for a while, at most once a day.
func (c *Cache) Prune(now time.Time) {
	mark := filepath.Join(c.dir, "pruned")
	if info, err := os.Stat(mark); err == nil && now.Sub(info.ModTime()) < 24*time.Hour {
		return
	}
	if os.WriteFile(mark, nil, 0o600) != nil || os.Chtimes(mark, now, now) != nil {
		return
	}
	entries, err := filepath.Glob(filepath.Join(c.dir, "??", "*"))
	if err != nil {
		return
	}
	for _, e := range entries {
		if info, err := os.Lstat(e); err == nil && now.Sub(info.ModTime()) > cacheAge {
			_ = os.Remove(e)
		}
	}
}

// file returns a decoded file.
func (c *Cache) file(path string, digest [sha256.Size]byte) (*schema.Node, bool) {
	if c == nil {
		return nil, false
	}
	data, ok := c.read(c.key([]byte("file"), []byte(path), digest[:]))
	if !ok {
		return nil, false
	}
	return decodeNode(path, data)
}

// keepFile stores a file that decoded without a word to say.
func (c *Cache) keepFile(path string, digest [sha256.Size]byte, n *schema.Node) {
	if c != nil {
		c.write(c.key([]byte("file"), []byte(path), digest[:]), appendNode(nil, n))
	}
}
