/* What is loaded before Orthanc's libraries, so that requests for another transfer syntax do not end it (decision 0066). */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>

/* Every thread has a stack of 8 MiB at least, Linux's usual limit; it takes memory only where it is written to. Debian's
 * civetweb, which answers HTTP for Orthanc, asks for 100 KiB, and writing an object with GDCM takes 129 KiB. */

static const size_t least = 8UL << 20;

int pthread_attr_setstacksize(pthread_attr_t *attributes, size_t size)
{
    int (*next)(pthread_attr_t *, size_t) =
        (int (*)(pthread_attr_t *, size_t))dlsym(RTLD_NEXT, "pthread_attr_setstacksize");

    return next(attributes, size < least ? least : size);
}

/* GDCM is there to read JPEG 2000, and may not compress. Debian's ends the program where an assertion of the
 * source does not hold, as for colours to JPEG 2000 Part 2; and CharLS (JPEG-LS), which it expects, has the names of
 * the older CharLS in DCMTK, which is found first and takes other arguments. DCMTK compresses, JPEG-LS too.
 *
 * bool gdcm::ImageChangeTransferSyntax::Try...Codec(gdcm::DataElement const &, gdcm::Bitmap const &, gdcm::Bitmap &),
 * bool gdcm::JPEGLSCodec::CanCode(gdcm::TransferSyntax const &) const, and CanDecode. */

#define CANNOT(name) bool name(void); bool name(void) { return false; }

CANNOT(_ZN4gdcm25ImageChangeTransferSyntax12TryJPEGCodecERKNS_11DataElementERKNS_6BitmapERS4_)
CANNOT(_ZN4gdcm25ImageChangeTransferSyntax14TryJPEGLSCodecERKNS_11DataElementERKNS_6BitmapERS4_)
CANNOT(_ZN4gdcm25ImageChangeTransferSyntax16TryJPEG2000CodecERKNS_11DataElementERKNS_6BitmapERS4_)
CANNOT(_ZN4gdcm25ImageChangeTransferSyntax11TryRLECodecERKNS_11DataElementERKNS_6BitmapERS4_)
CANNOT(_ZNK4gdcm11JPEGLSCodec7CanCodeERKNS_14TransferSyntaxE)
CANNOT(_ZNK4gdcm11JPEGLSCodec9CanDecodeERKNS_14TransferSyntaxE)
