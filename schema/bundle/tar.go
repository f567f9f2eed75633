package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

const tarBlock = 512

// tarHeader is the only header there is for a name and a size: a plain file, mode 0644, no owner, no time, no extension.
// Links, devices, folders, sparse files and PAX records have no such header, so none of them can be read.
func tarHeader(name string, size int) [tarBlock]byte {
	var h [tarBlock]byte
	copy(h[0:100], name)
	copy(h[100:], "0000644\x00")
	copy(h[108:], "0000000\x00")
	copy(h[116:], "0000000\x00")
	copy(h[124:], fmt.Sprintf("%011o\x00", size))
	copy(h[136:], "00000000000\x00")
	copy(h[148:], "        ") // the checksum is summed as spaces
	h[156] = '0'
	copy(h[257:], "ustar\x0000")
	copy(h[329:], "0000000\x00")
	copy(h[337:], "0000000\x00")
	sum := 0
	for _, b := range h {
		sum += int(b)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return h
}

func tarPadding(size int) int { return (tarBlock - size%tarBlock) % tarBlock }

// readTar returns the files of an archive. Names ascend, so none comes twice; every header must be the one tarHeader
// makes, and padding and end must be zero.
func readTar(data []byte) (map[string][]byte, error) {
	files := make(map[string][]byte)
	last, rest := "", data
	var zero [2 * tarBlock]byte
	for !bytes.Equal(rest, zero[:]) {
		if len(rest) < 3*tarBlock {
			return nil, errors.New("it ends too early, or not with two empty blocks")
		}
		header := [tarBlock]byte(rest)
		rest = rest[tarBlock:]
		name := string(header[:bytes.IndexByte(append(header[:100:100], 0), 0)])
		size, err := strconv.ParseInt(string(header[124:135]), 8, 32)
		if err != nil || size < 0 || header != tarHeader(name, int(size)) {
			return nil, fmt.Errorf("entry %d is not a plain file in the form gwctl writes", len(files)+1)
		}
		if name <= last {
			return nil, fmt.Errorf("entry %q stands twice, or out of order", name)
		}
		if len(files) == maxEntries {
			return nil, fmt.Errorf("more than %d entries", maxEntries)
		}
		padded := int(size) + tarPadding(int(size))
		if padded > len(rest)-2*tarBlock {
			return nil, fmt.Errorf("entry %q is longer than the archive", name)
		}
		if len(bytes.TrimLeft(rest[size:padded], "\x00")) > 0 {
			return nil, fmt.Errorf("entry %q is not padded with zeros", name)
		}
		files[name] = rest[:size:size]
		last, rest = name, rest[padded:]
	}
	return files, nil
}
