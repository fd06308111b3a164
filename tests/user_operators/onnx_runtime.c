/* A library of custom operators of ONNX Runtime that is only reached: it reports an error with ONNX Runtime's function. */
#include <stdint.h>

typedef struct ApiBase {
  void* const* (*api)(uint32_t version);
  const char* (*version)(void);
} ApiBase;

void* RegisterCustomOps(void* options, const ApiBase* base) {
  (void)options;
  void* (*create_status)(int code, const char* message) = (void* (*)(int, const char*))base->api(1)[0];
  return create_status(1, "the custom operators were reached");
}
