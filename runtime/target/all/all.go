// Package all is the one list of target kinds. It must hold nothing else.
package all

import (
	"github.com/suuupra/gateway/runtime/target"
	httptarget "github.com/suuupra/gateway/runtime/target/http"
)

// Kinds returns every target kind.
func Kinds() []target.Kind {
	return []target.Kind{
		httptarget.Kind,
	}
}
