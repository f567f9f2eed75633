package kubernetes

var (
	isFalse = []string{"false", ""}
	isTrue  = []string{"true", ""}
)

const (
	useAuth    = "use auth.jwt or auth.apiKey, with authorization"
	noRedirect = "redirects are known, but not available in this version; let the service redirect"
	noSnippet  = "text for another proxy's configuration is never taken over; say what it does with policies"
	noMTLS     = "client certificates are known, but not available in this version"
	ownTuning  = "the gateway sizes its buffers and connections itself"
	ownTraces  = "use gateway.accessLog and gateway.telemetry"
	sameServer = "use loadBalancing ringHash with a cookie of the service in hashOn; the gateway sets none itself"
	noCanary   = "canary releases are known, but not available in this version; a Gateway API HTTPRoute splits by weight"
	noMirror   = "mirroring is known, but not available in this version"
	noWAF      = "the web application firewall is known, but not available in this version"
	noErrors   = "answers of the service pass as they are"
	noCookies  = "let the service set the cookies it means"
)

// nginxAnnotations is the allow-list of ingress-nginx, by the name after nginx.ingress.kubernetes.io/.
var nginxAnnotations = map[string]annotation{
	"allowlist-source-range":    {treatment: translated, does: "policy.ip.allow", read: readAllow},
	"whitelist-source-range":    {treatment: translated, does: "policy.ip.allow", read: readAllow},
	"denylist-source-range":     {treatment: translated, does: "policy.ip.deny", read: readDeny},
	"backend-protocol":          {treatment: translated, does: "scheme and protocol of the upstream: HTTP, HTTPS, GRPC or GRPCS", read: readBackendProtocol},
	"cors-allow-credentials":    {treatment: translated, does: "policy.cors.allowCredentials; on unless false, but never with the origin \"*\"", read: readCORSCredentials},
	"cors-allow-headers":        {treatment: translated, does: "policy.cors.allowHeaders", read: readCORSHeaders},
	"cors-allow-methods":        {treatment: translated, does: "policy.cors.allowMethods", read: readCORSMethods},
	"cors-allow-origin":         {treatment: translated, does: "policy.cors.allowOrigins", read: readCORSOrigins},
	"cors-expose-headers":       {treatment: translated, does: "policy.cors.exposeHeaders", read: readCORSExpose},
	"cors-max-age":              {treatment: translated, does: "policy.cors.maxAge, at most 24h", read: readCORSMaxAge},
	"enable-cors":               {treatment: translated, does: "policy.cors, with the defaults of ingress-nginx", read: readEnableCORS},
	"limit-burst-multiplier":    {treatment: translated, does: "policy.rateLimit burst, as a multiple of the rate; 5 unless it is there", read: readBurst},
	"limit-rpm":                 {treatment: translated, does: "policy.rateLimit for each address and minute", read: readPerMinute},
	"limit-rps":                 {treatment: translated, does: "policy.rateLimit for each address and second", read: readPerSecond},
	"load-balance":              {treatment: translated, does: "loadBalancing of the upstream: round_robin, or leastLatency for ewma", read: readLoadBalance},
	"proxy-body-size":           {treatment: translated, does: "policy.bodyLimit; 0 becomes 1 TiB", read: readBodySize},
	"proxy-connect-timeout":     {treatment: translated, does: "connectTimeout of the upstream", read: readConnectTimeout},
	"proxy-next-upstream":       {treatment: translated, does: "policy.retry.on; statuses only as 502, 503 and 504 together", read: readNextUpstream},
	"proxy-next-upstream-tries": {treatment: translated, does: "policy.retry.attempts, one less", read: readTries},
	"proxy-read-timeout":        {treatment: translated, does: "policy.timeouts.header and .idle; policy.timeout is switched off, as ingress-nginx has none", read: readReadTimeout},
	"proxy-ssl-name":            {treatment: translated, does: "tls.sni of the upstream", read: readSSLName},
	"proxy-ssl-secret":          {treatment: translated, does: "tls.ca, .cert and .key of the upstream, as files", read: readSSLSecret},
	"rewrite-target":            {treatment: translated, does: "policy.rewrite.path; a group only where it holds the rest of the path", read: readRewrite},
	"server-alias":              {treatment: translated, does: "the same routes for further hosts", read: readAliases},
	"service-upstream":          {treatment: translated, does: "discovery.dns of the service's cluster address", read: readServiceUpstream},
	"upstream-hash-by":          {treatment: translated, does: "loadBalancing ringHash of the upstream: address, header, cookie or parameter", read: readHashBy},
	"upstream-vhost":            {treatment: translated, does: "host of the upstream", read: readVhost},
	"use-regex":                 {treatment: translated, does: "expressions that mean a prefix become path patterns; others are left out", read: readUseRegex},
	"x-forwarded-prefix":        {treatment: unsaid, does: "X-Forwarded-* fields are written by the gateway itself; rewrite the path where the service can bear it"},

	"auth-tls-verify-client":                {treatment: refused, does: noMTLS, harmless: []string{"off"}},
	"auth-tls-error-page":                   {treatment: refused, does: noMTLS},
	"auth-tls-match-cn":                     {treatment: refused, does: noMTLS},
	"auth-tls-pass-certificate-to-upstream": {treatment: refused, does: noMTLS, harmless: isFalse},
	"auth-tls-secret":                       {treatment: refused, does: noMTLS},
	"auth-tls-verify-depth":                 {treatment: refused, does: noMTLS},

	"auth-always-set-cookie":     {treatment: refused, does: useAuth, harmless: isFalse},
	"auth-cache-duration":        {treatment: refused, does: useAuth},
	"auth-cache-key":             {treatment: refused, does: useAuth},
	"auth-keepalive":             {treatment: refused, does: useAuth, harmless: []string{"0"}},
	"auth-keepalive-requests":    {treatment: refused, does: useAuth},
	"auth-keepalive-share-vars":  {treatment: refused, does: useAuth, harmless: isFalse},
	"auth-keepalive-timeout":     {treatment: refused, does: useAuth},
	"auth-method":                {treatment: refused, does: useAuth},
	"auth-proxy-set-headers":     {treatment: refused, does: useAuth},
	"auth-realm":                 {treatment: refused, does: useAuth},
	"auth-request-redirect":      {treatment: refused, does: useAuth},
	"auth-response-headers":      {treatment: refused, does: "use contextInjection with auth.jwt"},
	"auth-secret":                {treatment: refused, does: useAuth},
	"auth-secret-type":           {treatment: refused, does: useAuth},
	"auth-signin":                {treatment: refused, does: useAuth},
	"auth-signin-redirect-param": {treatment: refused, does: useAuth},
	"auth-type":                  {treatment: refused, does: useAuth},
	"auth-url":                   {treatment: refused, does: useAuth},
	"satisfy":                    {treatment: refused, does: "everything that a policy asks for must hold; split the rule", harmless: []string{"all"}},

	"auth-snippet":          {treatment: refused, does: noSnippet},
	"configuration-snippet": {treatment: refused, does: noSnippet},
	"modsecurity-snippet":   {treatment: refused, does: noSnippet},
	"server-snippet":        {treatment: refused, does: noSnippet},
	"stream-snippet":        {treatment: refused, does: noSnippet},

	"enable-modsecurity":         {treatment: refused, does: noWAF, harmless: isFalse},
	"enable-owasp-core-rules":    {treatment: refused, does: noWAF, harmless: isFalse},
	"modsecurity-transaction-id": {treatment: refused, does: noWAF},
	"limit-connections":          {treatment: refused, does: "use limit-rps, and limits.requests of the upstream"},
	"ssl-passthrough":            {treatment: refused, does: "TLS ends at the gateway; let a TCP proxy pass it on", harmless: isFalse},
	"custom-headers":             {treatment: refused, does: "use policy.headers.response with what the ConfigMap holds"},
	"permanent-redirect":         {treatment: refused, does: noRedirect},
	"permanent-redirect-code":    {treatment: refused, does: noRedirect},
	"temporal-redirect":          {treatment: refused, does: noRedirect},
	"temporal-redirect-code":     {treatment: refused, does: noRedirect},
	"proxy-cookie-domain":        {treatment: refused, does: noCookies, harmless: []string{"off"}},
	"proxy-cookie-path":          {treatment: refused, does: noCookies, harmless: []string{"off"}},
	"proxy-redirect-from":        {treatment: refused, does: "let the service redirect to its outer address, by X-Forwarded-Host", harmless: []string{"off", "default"}},
	"proxy-redirect-to":          {treatment: refused, does: "let the service redirect to its outer address, by X-Forwarded-Host", harmless: []string{"off", "default"}},
	"fastcgi-index":              {treatment: refused, does: "put a server that speaks HTTP before it"},
	"fastcgi-params-configmap":   {treatment: refused, does: "put a server that speaks HTTP before it"},

	"canary-by-cookie":         {treatment: refused, does: noCanary},
	"canary":                   {treatment: refused, does: noCanary, harmless: isFalse},
	"canary-by-header":         {treatment: refused, does: noCanary},
	"canary-by-header-pattern": {treatment: refused, does: noCanary},
	"canary-by-header-value":   {treatment: refused, does: noCanary},
	"canary-weight":            {treatment: refused, does: noCanary},
	"canary-weight-total":      {treatment: refused, does: noCanary},

	"affinity":                                 {treatment: unsaid, does: sameServer},
	"affinity-canary-behavior":                 {treatment: unsaid, does: sameServer},
	"affinity-mode":                            {treatment: unsaid, does: sameServer},
	"session-cookie-change-on-failure":         {treatment: unsaid, does: sameServer},
	"session-cookie-conditional-samesite-none": {treatment: unsaid, does: sameServer},
	"session-cookie-domain":                    {treatment: unsaid, does: sameServer},
	"session-cookie-expires":                   {treatment: unsaid, does: sameServer},
	"session-cookie-max-age":                   {treatment: unsaid, does: sameServer},
	"session-cookie-name":                      {treatment: unsaid, does: sameServer},
	"session-cookie-partitioned":               {treatment: unsaid, does: sameServer},
	"session-cookie-path":                      {treatment: unsaid, does: sameServer},
	"session-cookie-samesite":                  {treatment: unsaid, does: sameServer},
	"session-cookie-secure":                    {treatment: unsaid, does: sameServer},
	"upstream-hash-by-subset":                  {treatment: unsaid, does: "ringHash and maglev know single servers", harmless: isFalse},
	"upstream-hash-by-subset-size":             {treatment: unsaid, does: "ringHash and maglev know single servers"},

	"app-root":                       {treatment: unsaid, does: noRedirect},
	"from-to-www-redirect":           {treatment: unsaid, does: noRedirect, harmless: isFalse},
	"ssl-redirect":                   {treatment: translated, does: "false: the port for plain text is served too. Otherwise nothing listens there for hosts with TLS, in place of a redirect", read: readSSLRedirect},
	"force-ssl-redirect":             {treatment: unsaid, does: "TLS ends before the gateway: let what ends it redirect", harmless: isFalse},
	"custom-http-errors":             {treatment: unsaid, does: noErrors},
	"default-backend":                {treatment: unsaid, does: noErrors},
	"disable-proxy-intercept-errors": {treatment: tuned, does: noErrors},
	"limit-allowlist":                {treatment: unsaid, does: "they are limited like all others"},
	"limit-whitelist":                {treatment: unsaid, does: "they are limited like all others"},
	"limit-rate":                     {treatment: unsaid, does: "bandwidth is not limited"},
	"limit-rate-after":               {treatment: unsaid, does: "bandwidth is not limited"},
	"mirror-host":                    {treatment: unsaid, does: noMirror},
	"mirror-request-body":            {treatment: unsaid, does: noMirror},
	"mirror-target":                  {treatment: unsaid, does: noMirror},
	"proxy-next-upstream-timeout":    {treatment: unsaid, does: "all attempts together have policy.timeout", harmless: []string{"0"}},
	"proxy-send-timeout":             {treatment: unsaid, does: "gateway.timeouts.bodyIdle bounds how long a client may pause; servers that do not read are bounded by policy.timeout"},
	"proxy-ssl-ciphers":              {treatment: unsaid, does: "the ciphers of Go's TLS are used"},
	"proxy-ssl-protocols":            {treatment: unsaid, does: "use tls.minVersion of the upstream"},
	"proxy-ssl-verify-depth":         {treatment: unsaid, does: "chains of any length are verified"},
	"ssl-ciphers":                    {treatment: unsaid, does: "the ciphers of Go's TLS are used"},
	"ssl-prefer-server-ciphers":      {treatment: unsaid, does: "the ciphers of Go's TLS are used", harmless: isTrue},

	"client-body-buffer-size":           {treatment: tuned, does: ownTuning},
	"connection-proxy-header":           {treatment: tuned, does: ownTuning},
	"enable-access-log":                 {treatment: tuned, does: ownTraces},
	"enable-global-auth":                {treatment: tuned, does: "there is none: each route says who may use it"},
	"enable-opentelemetry":              {treatment: tuned, does: ownTraces},
	"enable-rewrite-log":                {treatment: tuned, does: "ask gwctl explain"},
	"http2-push-preload":                {treatment: tuned, does: "no browser takes pushes any more"},
	"opentelemetry-operation-name":      {treatment: tuned, does: ownTraces},
	"opentelemetry-trust-incoming-span": {treatment: tuned, does: ownTraces},
	"preserve-trailing-slash":           {treatment: tuned, does: "slashes at the end stay"},
	"proxy-buffer-size":                 {treatment: tuned, does: ownTuning},
	"proxy-buffering":                   {treatment: tuned, does: "responses are passed on as they come"},
	"proxy-buffers-number":              {treatment: tuned, does: ownTuning},
	"proxy-busy-buffers-size":           {treatment: tuned, does: ownTuning},
	"proxy-http-version":                {treatment: tuned, does: "use protocol of the upstream"},
	"proxy-max-temp-file-size":          {treatment: tuned, does: "nothing is written to disk"},
	"proxy-request-buffering":           {treatment: tuned, does: "requests are passed on as they come"},
	"proxy-ssl-server-name":             {treatment: tuned, does: "servers are always told the name"},
	"proxy-ssl-verify":                  {treatment: tuned, does: "servers are always verified; tls.skipVerify of the upstream switches it off"},
	"use-port-in-redirects":             {treatment: tuned, does: "the gateway does not redirect"},
}

// traefikAnnotations is the allow-list of Traefik, by the name after traefik.ingress.kubernetes.io/. Those that begin with "service."
// stand on a Service.
var traefikAnnotations = map[string]annotation{
	"router.entrypoints":      {treatment: unsaid, does: "a route is served on every listener"},
	"router.middlewares":      {treatment: refused, does: "say what the middlewares do with policies"},
	"router.observability.*":  {treatment: tuned, does: ownTraces},
	"router.pathmatcher":      {treatment: refused, does: "use pathType Exact or Prefix"},
	"router.priority":         {treatment: refused, does: "the most specific route wins; make this one more specific"},
	"router.rulesyntax":       {treatment: tuned, does: "there are no rules to parse"},
	"router.tls":              {treatment: tuned, does: "use spec.tls", harmless: isFalse},
	"router.tls.certresolver": {treatment: unsaid, does: "let cert-manager fetch certificates, and name the secret in spec.tls"},
	"router.tls.domains.*":    {treatment: unsaid, does: "let cert-manager fetch certificates, and name the secret in spec.tls"},
	"router.tls.options":      {treatment: refused, does: noMTLS + "; versions are set by tls.minVersion of the listener"},

	"service.middlewares":      {treatment: refused, does: "say what the middlewares do with policies"},
	"service.nativelb":         {treatment: tuned, does: "endpoints are balanced by the gateway"},
	"service.nodeportlb":       {treatment: tuned, does: "endpoints are balanced by the gateway"},
	"service.passhostheader":   {treatment: refused, does: "set host of the upstream", harmless: isTrue},
	"service.serversscheme":    {treatment: translated, does: "scheme and protocol of the upstream: http, https or h2c", read: readServersScheme},
	"service.serverstransport": {treatment: refused, does: "set tls and timeouts of the upstream"},
	"service.sticky.*":         {treatment: unsaid, does: sameServer},
	"service.sticky.cookie":    {treatment: unsaid, does: sameServer, harmless: isFalse},
}
