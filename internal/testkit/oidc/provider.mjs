// A certified OpenID provider that hands out access tokens in JWT form for the client credentials grant, and whose signing keys the test
// changes. Standard output gets one line, the issuer's URL. On standard input, a line of key names is the new set: the first one signs.
import { createServer } from 'node:http'
import { createInterface } from 'node:readline'
import { generateKeyPairSync } from 'node:crypto'
import Provider from 'oidc-provider'

console.info = console.warn = console.error // standard output is the test's

const keys = new Map()
function key(kid) {
  if (!keys.has(kid)) {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    keys.set(kid, { ...privateKey.export({ format: 'jwk' }), kid, alg: 'ES256', use: 'sig' })
  }
  return keys.get(kid)
}

let handle
const server = createServer((req, res) => handle(req, res))
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`
  const audience = 'suuupra-api'
  const use = (names) => {
    const provider = new Provider(issuer, {
      jwks: { keys: names.map(key) },
      clients: ['ann', 'guest'].map((client_id) => ({
        client_id, client_secret: 'no-secret-of-anybodys', grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
        id_token_signed_response_alg: 'ES256',
      })),
      features: {
        devInteractions: { enabled: false },
        clientCredentials: { enabled: true },
        resourceIndicators: {
          enabled: true,
          defaultResource: () => 'urn:suuupra:api',
          useGrantedResource: () => true,
          getResourceServerInfo: () => ({
            audience, scope: 'user.read user.write', accessTokenFormat: 'jwt', accessTokenTTL: 600, jwt: { sign: { alg: 'ES256' } },
          }),
        },
      },
      ttl: { ClientCredentials: 600 },
      extraTokenClaims: (_ctx, token) => ({ roles: [token.clientId === 'ann' ? 'user' : 'guest'], perms: ['user.read'] }),
    })
    handle = provider.callback()
  }
  createInterface({ input: process.stdin }).on('line', (line) => {
    use(line.split(' '))
    console.log(`keys ${line}`)
  }).on('close', () => process.exit(0))
  use(['first'])
  console.log(issuer)
})
