# SPDX-License-Identifier: Apache-2.0
#
# Writes HEADERS, paths in the folder SOURCE, to the folder TO as they are
# included from there: app/client/x.hpp is <muster/x.hpp>, and messages/x.hpp is
# <muster/messages/x.hpp>.

file(REMOVE_RECURSE "${TO}")
foreach(header IN LISTS HEADERS)
  file(READ "${SOURCE}/${header}" text)
  string(REGEX REPLACE "#include \"app/client/([a-z_]+[.]hpp)\""
         "#include <muster/\\1>" text "${text}")
  string(REGEX REPLACE "#include \"messages/([a-z_]+[.]hpp)\""
         "#include <muster/messages/\\1>" text "${text}")
  if(text MATCHES "#include \"[^\"]*\"")
    message(FATAL_ERROR "${header} cannot be installed: ${CMAKE_MATCH_0}")
  endif()
  string(REGEX REPLACE "^app/client/" "" place "${header}")
  file(WRITE "${TO}/${place}" "${text}")
endforeach()
