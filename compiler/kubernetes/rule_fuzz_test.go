package kubernetes_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/suuupra/gateway/compiler/kubernetes"
)

// FuzzHTTPRoute writes any values into an HTTPRoute. Whatever is translated validates, and what is not is reported.
func FuzzHTTPRoute(f *testing.F) {
	f.Add("Exact", "/a", "a.example.com", "GET", "x-one", "1", "/b", "10s", "https://a.example.com", 503)
	f.Add("PathPrefix", "/a/", "*.example.com", "POST", "Host", "*", "/", "0s", "*", 429)
	f.Add("PathPrefix", "/", "", "TRACE", "origin", "${x}", "", "24h", "https://*.example.com", 500)
	f.Add("RegularExpression", "/a/[0-9]+", "1.2.3.4", "get", "X-Forwarded-For", " a", "/a/../b", "1h1m", "null", 0)
	f.Add("Exact", "/a", "a.example.com", "\x80\xff", "x-one", "\xff", "/b", "\xff0s", "https://a.example.com", 503)
	f.Fuzz(func(t *testing.T, kind, path, host, method, name, value, replace, wait, origin string, code int) {
		header := []gatewayv1.HTTPHeader{{Name: gatewayv1.HTTPHeaderName(name), Value: value}}
		rewrite := &gatewayv1.HTTPPathModifier{Type: gatewayv1.PrefixMatchHTTPPathModifier, ReplacePrefixMatch: &replace}
		if code%2 == 0 {
			rewrite = &gatewayv1.HTTPPathModifier{Type: gatewayv1.FullPathHTTPPathModifier, ReplaceFullPath: &replace}
		}
		backend := gatewayv1.HTTPBackendRef{}
		backend.Name, backend.Port = "web", new(gatewayv1.PortNumber(80))
		plain := gatewayv1.HTTPRouteRule{
			Matches: []gatewayv1.HTTPRouteMatch{{
				Path:    &gatewayv1.HTTPPathMatch{Type: new(gatewayv1.PathMatchType(kind)), Value: &path},
				Headers: []gatewayv1.HTTPHeaderMatch{{Name: gatewayv1.HTTPHeaderName(name), Value: value}},
			}, {
				Path:        &gatewayv1.HTTPPathMatch{Type: new(gatewayv1.PathMatchType(kind)), Value: &path},
				Method:      new(gatewayv1.HTTPMethod(method)),
				QueryParams: []gatewayv1.HTTPQueryParamMatch{{Name: gatewayv1.HTTPHeaderName(name), Value: value}},
			}},
			BackendRefs: []gatewayv1.HTTPBackendRef{backend},
		}
		full := plain
		full.Matches = []gatewayv1.HTTPRouteMatch{{Path: &gatewayv1.HTTPPathMatch{Type: new(gatewayv1.PathMatchType(kind)), Value: &path}}}
		full.Timeouts = &gatewayv1.HTTPRouteTimeouts{Request: new(gatewayv1.Duration(wait)), BackendRequest: new(gatewayv1.Duration(wait))}
		full.Retry = &gatewayv1.HTTPRouteRetry{Codes: []gatewayv1.HTTPRouteRetryStatusCode{gatewayv1.HTTPRouteRetryStatusCode(code)}, Backoff: new(gatewayv1.Duration(wait))}
		full.Filters = []gatewayv1.HTTPRouteFilter{
			{Type: "RequestHeaderModifier", RequestHeaderModifier: &gatewayv1.HTTPHeaderFilter{Set: header, Remove: []string{name}}},
			{Type: "ResponseHeaderModifier", ResponseHeaderModifier: &gatewayv1.HTTPHeaderFilter{Add: header}},
			{Type: "URLRewrite", URLRewrite: &gatewayv1.HTTPURLRewriteFilter{Hostname: new(gatewayv1.PreciseHostname(host)), Path: rewrite}},
		}
		cors := plain
		cors.Matches = []gatewayv1.HTTPRouteMatch{{Path: &gatewayv1.HTTPPathMatch{Value: new("/cors")}}}
		cors.Filters = []gatewayv1.HTTPRouteFilter{{Type: "CORS", CORS: &gatewayv1.HTTPCORSFilter{
			AllowOrigins: []gatewayv1.CORSOrigin{gatewayv1.CORSOrigin(origin)}, AllowHeaders: []gatewayv1.HTTPHeaderName{gatewayv1.HTTPHeaderName(name)},
			AllowMethods: []gatewayv1.HTTPMethodWithWildcard{gatewayv1.HTTPMethodWithWildcard(method)}, AllowCredentials: new(code%3 == 0),
		}}}
		o := &kubernetes.Objects{
			Gateways: []*gatewayv1.Gateway{{
				ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "gw"},
				Spec:       gatewayv1.GatewaySpec{Listeners: []gatewayv1.Listener{{Name: "http", Port: 80, Protocol: "HTTP"}}},
			}},
			HTTPRoutes: []*gatewayv1.HTTPRoute{{
				ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "r"},
				Spec: gatewayv1.HTTPRouteSpec{
					CommonRouteSpec: gatewayv1.CommonRouteSpec{ParentRefs: []gatewayv1.ParentReference{{Name: "gw"}}},
					Hostnames:       []gatewayv1.Hostname{gatewayv1.Hostname(host)}, Rules: []gatewayv1.HTTPRouteRule{plain, full, cors},
				},
			}},
		}
		r := kubernetes.Translate(o, kubernetes.Options{})
		if len(r.Routes) == 0 && r.IsComplete() {
			t.Error("there is no route, and nothing says why")
		}
		if len(r.Files) > 0 {
			validates(t, r)
		}
	})
}
