import DiskImages
import Linux
import Testing

@testable import TransportArchive

/// Header and index as JSON.
struct ArchiveJSONTests {
    @Test func aHeaderIsTheBytesItWasBefore() throws {
        let access = FileAccess(mode: 0o640, owner: 7, group: 8)
        var layers = [
            ArchiveHeader.Layer(
                names: ["a/\"b\"", "c", "d"], format: FormatDescription(format: "raw", layout: "raw"),
                size: 512,
                mtime: "1.000000002", backing: nil, isImage: false, access: access),
            ArchiveHeader.Layer(
                names: ["e"],
                format: FormatDescription(format: "cow", layout: "uml-v3", alignment: 4096), size: .max,
                mtime: "-1.000000002", backing: 0, isImage: true),
            ArchiveHeader.Layer(
                names: ["f"], format: FormatDescription(format: "raw", layout: "raw"), size: 0,
                mtime: "3.000000000", backing: nil, isImage: false),
        ]
        layers[0].same = 3
        (layers[2].isCompanion, layers[2].link) = (true, "../g")
        let header = ArchiveHeader(
            options: ArchiveHeader.Options(
                compression: "lz4:1", flatten: false, zeroRun: 4096, sharesContent: true),
            layers: layers, parent: ArchiveHeader.Parent(state: "12", id: "34", name: "h.drover"))
        let text = #"""
            {"layers":[{"also":["c","d"],"group":8,"image":false,"layout":"raw","mode":416,"mtime":"1.000000002",
            "name":"a/\"b\"","owner":7,"same":3,"size":512},
            {"alignment":4096,"backing":0,"image":true,"layout":"uml-v3","mtime":"-1.000000002","name":"e",
            "size":18446744073709551615},
            {"image":false,"layout":"raw","link":"../g","mtime":"3.000000000","name":"f","size":0,"with":true}],
            "options":{"compression":"lz4:1","dedup":true,"flatten":false,"zeroRun":4096},
            "parent":{"id":"34","name":"h.drover","state":"12"},"version":2}
            """#
        #expect(String(decoding: header.serialized(), as: UTF8.self) == text.filter { $0 != "\n" })
        #expect(try ArchiveHeader.read(header.serialized()) == header)
    }

    @Test func membersMayStandInAnyOrderAndBeMore() throws {
        let text = #"""
             { "version" : 2 , "later" : [ { "a" : null } ] , "parent" : null, "options" : { "zeroRun" : 0 ,
             "flatten" : true , "compression" : "none" , "more" : 1.5 } , "layers" : [ ] }
            """#
        let header = try ArchiveHeader(parsing: Array(text.utf8))
        #expect(header.layers.isEmpty && header.parent == nil && header.options.flatten)
    }

    @Test(arguments: [
        "[]", "{}", #"{"layers":[],"version":2}"#,
        #"{"layers":[{}],"options":{"compression":"lz4","flatten":false,"zeroRun":1},"version":2}"#,
        #"{"layers":{},"options":{"compression":"lz4","flatten":false,"zeroRun":1},"version":2}"#,
        #"{"layers":[],"options":{"compression":1,"flatten":false,"zeroRun":1},"version":2}"#,
    ])
    func whatIsNoHeaderIsRefused(_ text: String) {
        #expect(throws: ArchiveError(.damaged, "its header is no header")) {
            try ArchiveHeader(parsing: Array(text.utf8))
        }
    }
}
