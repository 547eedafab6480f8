/* Random bytes for mbedTLS straight from the kernel: getentropy(3) is in musl, glibc and
 * Darwin alike, blocks only until the kernel's pool is ready once after boot, and gives
 * at most 256 bytes a call. So no generator of the library's own has to be seeded and
 * locked. */
#include <sys/random.h>
#include <unistd.h>

#include "psa/crypto.h"

psa_status_t
mbedtls_psa_external_get_random(mbedtls_psa_external_random_context_t *context,
                                uint8_t *output, size_t output_size,
                                size_t *output_length)
{
    (void)context;
    for (size_t at = 0; at < output_size;) {
        size_t n = output_size - at < 256 ? output_size - at : 256;

        if (getentropy(output + at, n) != 0)
            return PSA_ERROR_INSUFFICIENT_ENTROPY;
        at += n;
    }
    *output_length = output_size;
    return PSA_SUCCESS;
}
