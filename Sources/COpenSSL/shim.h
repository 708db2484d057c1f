// What OpenSSL declares, and functions for those of its calls that are macros, which Swift cannot see.

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

// MARK: Contexts

static inline long holdfast_SSL_CTX_set_min_version(SSL_CTX *context, int version) {
  return SSL_CTX_set_min_proto_version(context, version);
}

static inline void holdfast_SSL_CTX_set_modes(SSL_CTX *context) {
  // A write may take a part, and go on from a buffer that has moved; an idle connection gives its buffers back.
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS);
}

static inline void holdfast_SSL_CTX_set_session_cache(SSL_CTX *context, int is_client) {
  SSL_CTX_set_session_cache_mode(
      context, is_client ? SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL : SSL_SESS_CACHE_OFF);
}

static inline void holdfast_SSL_CTX_set_read_ahead(SSL_CTX *context) {
  SSL_CTX_set_read_ahead(context, 1);
}

typedef int (*holdfast_servername_callback)(SSL *, int *, void *);

static inline void holdfast_SSL_CTX_set_servername_callback(SSL_CTX *context,
                                                            holdfast_servername_callback callback) {
  SSL_CTX_set_tlsext_servername_callback(context, callback);
}

// MARK: Sessions

static inline int holdfast_SSL_set_server_name(SSL *ssl, const char *name) {
  return (int)SSL_set_tlsext_host_name(ssl, name);
}

static inline int holdfast_SSL_CTX_add1_chain_cert(SSL_CTX *context, X509 *certificate) {
  return (int)SSL_CTX_add1_chain_cert(context, certificate);
}

static inline int holdfast_SSL_add1_chain_cert(SSL *ssl, X509 *certificate) {
  return (int)SSL_add1_chain_cert(ssl, certificate);
}

// MARK: Tickets

// What seals a ticket: AES-256 in CBC, then HMAC-SHA-256, with 32 bytes of `keys` for each (RFC 5077 §4).
static inline int holdfast_ticket_seal(EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                                       const unsigned char *keys, const unsigned char *iv,
                                       int encrypts) {
  OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(keys + 32), 32),
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
      OSSL_PARAM_construct_end()};
  if (!EVP_MAC_CTX_set_params(mac, parameters)) return 0;
  return EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, keys, iv, encrypts);
}

// MARK: BIO

static inline void holdfast_BIO_set_retry_read(BIO *bio) { BIO_set_retry_read(bio); }
static inline void holdfast_BIO_set_retry_write(BIO *bio) { BIO_set_retry_write(bio); }
static inline void holdfast_BIO_clear_retry(BIO *bio) { BIO_clear_retry_flags(bio); }

static inline long holdfast_BIO_memory(BIO *bio, char **start) {
  return BIO_get_mem_data(bio, start);
}

// MARK: Buffers

// Of this thread, as large as it was first asked for; kept for as long as the thread lives.
static inline void *holdfast_thread_buffer(size_t size) {
  static _Thread_local void *buffer = NULL;
  if (!buffer) buffer = malloc(size);
  return buffer;
}

// MARK: Errors

static inline int holdfast_ERR_reason(unsigned long code) { return ERR_GET_REASON(code); }
static inline int holdfast_ERR_library(unsigned long code) { return ERR_GET_LIB(code); }

// MARK: Keys and certificates

static inline EVP_PKEY *holdfast_new_p256_key(void) { return EVP_EC_gen("P-256"); }

static inline void holdfast_free_general_names(void *names) {
  GENERAL_NAMES_free((GENERAL_NAMES *)names);
}

// MARK: Constants that are expressions

static const uint64_t holdfast_SSL_OP_NO_RENEGOTIATION = SSL_OP_NO_RENEGOTIATION;
static const uint64_t holdfast_SSL_OP_NO_COMPRESSION = SSL_OP_NO_COMPRESSION;
static const uint64_t holdfast_SSL_OP_CIPHER_SERVER_PREFERENCE = SSL_OP_CIPHER_SERVER_PREFERENCE;
// As RFC 4514 writes names, but with letters beyond ASCII as they are.
static const unsigned long holdfast_name_format =
    (XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) | ASN1_STRFLGS_ESC_CTRL;
