#include <simdjson.h>

#include "http/routes.h"
#include "protocol/v2.h"

namespace loopwright::serving::http {

void register_region(SharedMemory& memory, const std::string& name, const std::string& body) {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  if (parser.parse(body).get(root) || !root.is_object()) throw invalid("the body must be a JSON object");
  std::string_view key;
  if (root["key"].get(key)) throw invalid("\"key\" must be a string, the name of a segment");
  uint64_t offset = 0, bytes = 0;
  simdjson::dom::element found;
  if (!root["offset"].get(found) && found.get(offset)) throw invalid("\"offset\" must be a number from 0 up");
  if (root["byte_size"].get(bytes)) throw invalid("\"byte_size\" must be a number from 1 up");
  memory.add({name, std::string(key), offset, bytes});
}

}  // namespace loopwright::serving::http
