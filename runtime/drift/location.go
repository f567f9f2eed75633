package drift

import (
	"fmt"
	"io/fs"
	"strings"

	"github.com/suuupra/gateway/internal/gitwatch"
)

// SplitSubdirectory takes the folder off an address as people write it, "https://host/org/repo.git//gateway": what stands
// behind a double slash is a folder inside the repository. Without one the folder is empty.
func SplitSubdirectory(address string) (repository, subdirectory string) {
	return gitwatch.SplitSubdirectory(address)
}

func parseSubdirectory(dir string) (string, error) {
	if dir == "" || dir == "." {
		return "", nil
	}
	if !fs.ValidPath(dir) || strings.HasPrefix(dir, "-") || strings.ContainsFunc(dir, func(r rune) bool { return r < 0x20 || r == 0x7f || r == '\\' }) {
		return "", fmt.Errorf("subdirectory %.80q is not a path inside the repository, such as gateway/config", dir)
	}
	return dir, nil
}
