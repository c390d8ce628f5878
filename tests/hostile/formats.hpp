// Every format that the engine reads, with an example and its reader.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace collie::test {

struct FileFormat {
  std::string name;
  std::string example;  // a file that is accepted
  // Hands `contents` to the engine's reader, as a file in `folder`, and uses what it gives as the engine
  // does. Throws UserError where it is refused; anything else that it throws is a fault.
  std::function<void(const std::string& folder, const std::string& contents)> read;
};

const std::vector<FileFormat>& file_formats();

}  // namespace collie::test
