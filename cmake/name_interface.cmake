# cmake -DHEADERS=LIST -DFOLDER=... -DVERSION=... -DOUTPUT=... -P name_interface.cmake: writes the header that names the
# interface: the version, and a hash of all headers. LIST is a file that names them, relative to FOLDER.
file(READ "${HEADERS}" headers)
set(all "")
foreach(header IN LISTS headers)
  file(SHA256 "${FOLDER}/${header}" hash)
  string(APPEND all "${header} ${hash}\n")
endforeach()
string(SHA256 name "${all}")
string(SUBSTRING "${name}" 0 12 name)
file(WRITE "${OUTPUT}" "// Which headers these are. Made by cmake/name_interface.cmake.
#pragma once

#define COLLIE_INTERFACE \"${VERSION} (interface ${name})\"
")
