// CRC-32C (Castagnoli): the checksum of RFC 3720 (iSCSI), section 12.1, and of TensorFlow's record files.
#pragma once

#include <cstdint>
#include <string_view>

namespace collie {

uint32_t crc32c(std::string_view bytes);

}  // namespace collie
