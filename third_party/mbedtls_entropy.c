/* Entropy for mbedTLS from the kernel. mbedTLS itself asks getrandom(2) only when it sees glibc;
 * getentropy(3) is in musl, glibc and Darwin alike, blocks only until the kernel's pool is ready
 * once after boot, and gives at most 256 bytes a call. */
#include <stddef.h>
#include <sys/random.h>
#include <unistd.h>

#include "mbedtls/entropy.h"

int mbedtls_hardware_poll(void *data, unsigned char *output, size_t len, size_t *olen);

int mbedtls_hardware_poll(void *data, unsigned char *output, size_t len, size_t *olen)
{
    (void)data;
    if (len > 256)
        len = 256;
    if (getentropy(output, len) != 0)
        return MBEDTLS_ERR_ENTROPY_SOURCE_FAILED;
    *olen = len;
    return 0;
}
